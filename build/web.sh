# shellcheck shell=bash disable=SC2034
# The npm package (web/dist) and the page (www/dist).

cmd_web() {
    [ -d web/generated/simd128 ] || cmd_wasm
    npm_folder web
    say "npm package: web/dist"
    (cd web && npm run --silent build)
}

cmd_www() {
    [ -d web/dist ] || cmd_web
    npm_folder www
    say "page: www/dist"
    (cd www && npm run --silent build)
}
