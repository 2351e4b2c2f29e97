# shellcheck shell=bash
# The part of scripts/setup.sh that tests need and building does not; sourced by it.
#
#   The rerun program, a viewer for the tests of the connection: out of the Python wheel that scripts/rerun.txt pins, into
#   `.tools/bin/`. And Chromium, for the tests of the web page, from apt if it is missing. Tests that lack one are ignored,
#   except in CI, where they fail.

tools=$root/.tools
rerun_pins=$root/scripts/rerun.txt
rerun_version=$(grep -oE '==[0-9.]+' "$rerun_pins" | tr -d =)

without_rerun() {
    say "no rerun for the tests: $*"
    exit 3
}

# Cargo has the tests look for both again.
found_anew() { touch -- "$root/tests/common/build.rs"; }

# In a subshell: what ends it leaves the tests that need no browser.
if ! command -v chromium >/dev/null && ! command -v chromium-browser >/dev/null && ! command -v google-chrome >/dev/null; then
    (apt_install chromium) && found_anew || say "no chromium for the tests of the web page"
fi

if [[ $("$tools/bin/rerun" --version 2>/dev/null) != "rerun-cli $rerun_version "* ]]; then
    find_pip || apt_install python3-pip && find_pip || without_rerun "no pip"
    say "fetching rerun $rerun_version into .tools/"
    mkdir -p "$tools/bin"
    temp=$(mktemp -d "$tools/new.XXXXXX")
    trap 'rm -rf -- "$temp"' EXIT
    "$python" -m pip --quiet --disable-pip-version-check download --no-cache-dir --no-deps --require-hashes \
        --only-binary=:all: --dest "$temp" -r "$rerun_pins" >"$temp/log" 2>&1 ||
        without_rerun "pip could not fetch the wheel: $(grep -m 1 ERROR "$temp/log" || tail -n 1 "$temp/log")"
    "$python" - "$temp" <<'PYTHON'
import glob, shutil, sys, zipfile
with zipfile.ZipFile(*glob.glob(glob.escape(sys.argv[1]) + "/*.whl")) as wheel:
    with wheel.open("rerun_sdk/rerun_cli/rerun") as program, open(sys.argv[1] + "/rerun", "wb") as out:
        shutil.copyfileobj(program, out, 1 << 20)
PYTHON
    chmod 755 "$temp/rerun"
    mv -T -- "$temp/rerun" "$tools/bin/rerun"
    found_anew
fi
