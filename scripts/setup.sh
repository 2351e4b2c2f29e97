#!/usr/bin/env bash
# Makes a checkout ready to build with cameras. Says nothing, and does nothing, when it is.
#
#   1. A C compiler and pkg-config, from apt if they are missing.
#   2. librealsense: an earlier run's, else the system's if pkg-config finds one, else the official library out of the
#      Python wheel that scripts/librealsense.txt pins, put into `.librealsense/`, where .cargo/config.toml lets
#      pkg-config look. To use a system's library installed later, delete that folder.
#
# With --tests it fetches instead what only tests need: see scripts/setup_tests.sh.
#
# Exit codes: 0 ready; 3 no librealsense to be had here (build with `--no-default-features --features viewer`);
# 4 packages to install first, by the command it prints; anything else is a fault.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
pins=$root/scripts/librealsense.txt
home=$root/.librealsense
soname=librealsense2.so.2.56
# What the bindings need at least, and what the wheel has.
oldest=2.56
version=2.56.5

say() { printf 'setup: %s\n' "$*" >&2; }
fail() {
    say "$*"
    exit 1
}
without_cameras() {
    say "no librealsense: $*"
    exit 3
}

# Installs the Debian packages "$@". Without the right to, says how and exits.
apt_install() {
    local as_root=()
    if ! command -v apt-get >/dev/null; then
        say "please install what Debian calls: $*"
        exit 4
    fi
    if [ "$(id -u)" != 0 ]; then
        if command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
            as_root=(sudo)
        else
            say "please run, as root: apt-get update && apt-get install -y $*"
            exit 4
        fi
    fi
    say "installing $*"
    # An index that cannot be renewed may still do.
    "${as_root[@]}" apt-get update -qq >/dev/null || true
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "$@" >/dev/null
}

# Cargo leaves a PKG_CONFIG_PATH from outside as it is, so `.librealsense/` must be in it.
check_path() {
    if [ -n "${PKG_CONFIG_PATH+set}" ] && ! pkg-config --exists realsense2; then
        say "PKG_CONFIG_PATH is set and cargo keeps it: add $home/lib/pkgconfig to it, or unset it (make does)"
    fi
}

read_loader() { loader=$(PATH=$PATH:/usr/sbin:/sbin ldconfig -p 2>/dev/null || true); }
# Does the dynamic loader know library $1?
loadable() { grep -qF -- "$1" <<<"$loader"; }
# X of the newest libpython3.X it knows.
newest_python() { grep -oE 'libpython3\.[0-9]+\.so\.1\.0' <<<"$loader" | cut -d. -f2 | sort -rnu | head -n 1 || true; }
find_pip() {
    for python in python3 /usr/bin/python3; do
        "$python" -m pip --version >/dev/null 2>&1 && return
    done
    return 1
}

if [ "${1:-}" = --tests ]; then
    # shellcheck source=scripts/setup_tests.sh
    . "$root/scripts/setup_tests.sh"
    exit 0
fi

# An earlier run's librealsense, if the libraries that it needs are still there.
ours() {
    local needed
    [ "$(cat "$home/version" 2>/dev/null)" = "$version" ] &&
        needed=$(ldd "$home/lib/$soname" 2>/dev/null) && [[ $needed != *"not found"* ]]
}
# The system's. What a PKG_CONFIG_PATH that names `.librealsense/` finds there is none, and damaged if it comes to this.
systems() {
    pkg-config --atleast-version="$oldest" realsense2 2>/dev/null &&
        [[ $(pkg-config --variable=pcfiledir realsense2) != "$home"/* ]]
}

# All packages in one go.
missing=()
command -v cc >/dev/null || missing+=(build-essential)
command -v pkg-config >/dev/null || missing+=(pkg-config)
tools=${#missing[@]}
wanted=
if ! ours && ! systems; then
    wanted=yes
    case $(uname -sm) in
    "Linux x86_64") platform=manylinux1_x86_64 wheels=(13 12 11 10 9) ;;
    "Linux aarch64") platform=manylinux2014_aarch64 wheels=(10 9) ;;
    *) platform='' ;;
    esac
fi
if [ -n "$wanted" ] && [ -n "$platform" ]; then
    # It links to the libpython of its wheel: it uses nothing of it, but needs the symbols. A newer one has them too.
    read_loader
    command -v patchelf >/dev/null || missing+=(patchelf)
    loadable libusb-1.0.so.0 || missing+=(libusb-1.0-0)
    if [ -z "$(newest_python)" ]; then
        # The distribution's own version; its development package is the one whose name has no version.
        missing+=("$(/usr/bin/python3 -c 'import sys; print("libpython3.%d" % sys.version_info[1])' 2>/dev/null ||
            echo libpython3-dev)")
    fi
    find_pip || missing+=(python3-pip)
fi
if [ ${#missing[@]} -gt 0 ] && ! apt_install "${missing[@]}"; then
    [ "$tools" = 0 ] || fail "apt-get could not install ${missing[*]}"
    without_cameras "apt-get could not install ${missing[*]}"
fi
if [ -z "$wanted" ]; then
    check_path
    exit 0
fi
[ -n "$platform" ] || without_cameras "no wheel carries it for $(uname -sm), and pkg-config finds none of $oldest or newer"
read_loader
find_pip || without_cameras "no pip"

# The wheel for a libpython that is here, or the newest that is older than the newest libpython.
python_minor='' wheel=''
for minor in "${wheels[@]}"; do
    if loadable "libpython3.$minor.so.1.0"; then
        python_minor=$minor wheel=$minor
        break
    fi
done
if [ -z "$wheel" ]; then
    python_minor=$(newest_python)
    for minor in "${wheels[@]}"; do
        if [ "$minor" -lt "${python_minor:-0}" ]; then
            wheel=$minor
            break
        fi
    done
fi
[ -n "$wheel" ] || without_cameras "no wheel for libpython3.${python_minor:-?}"

say "fetching librealsense $version into .librealsense/"
temp=$(mktemp -d "$home.XXXXXX")
trap 'rm -rf -- "$temp"' EXIT
"$python" -m pip --quiet --disable-pip-version-check download --no-cache-dir --no-deps --require-hashes \
    --only-binary=:all: --implementation cp --python-version "3$wheel" --abi "cp3$wheel" --platform "$platform" \
    --dest "$temp" -r "$pins" >"$temp/log" 2>&1 ||
    without_cameras "pip could not fetch the wheel: $(grep -m 1 ERROR "$temp/log" || tail -n 1 "$temp/log")"

new=$temp/new lib=$temp/new/lib
mkdir -p "$lib/pkgconfig"
"$python" - "$temp" "$lib/$soname" <<'PYTHON'
import glob, re, sys, zipfile
with zipfile.ZipFile(*glob.glob(glob.escape(sys.argv[1]) + "/*.whl")) as wheel, open(sys.argv[2], "wb") as library:
    (name,) = [name for name in wheel.namelist() if re.fullmatch(r"pyrealsense2/pyrealsense2\.cpython-.*\.so", name)]
    library.write(wheel.read(name))
PYTHON
chmod 755 "$lib/$soname"
# Two calls: one that does both leaves a library that does not load.
patchelf --add-needed "libpython3.$python_minor.so.1.0" "$lib/$soname"
patchelf --set-soname "$soname" "$lib/$soname"
ln -s "$soname" "$lib/librealsense2.so"
cat >"$lib/pkgconfig/realsense2.pc" <<PC
prefix=\${pcfiledir}/../..
libdir=\${prefix}/lib

Name: realsense2
Description: Intel RealSense SDK 2.0, the library of its Python wheel
Version: $version
Libs: -L\${libdir} -lrealsense2
PC
echo "$version" >"$new/version"

"$python" - "$lib/$soname" >"$temp/log" 2>&1 <<'PYTHON' || without_cameras "it does not load: $(tail -n 1 "$temp/log")"
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
library.rs2_create_context.restype = ctypes.c_void_p
error = ctypes.c_void_p()
api = library.rs2_get_api_version(ctypes.byref(error))
if not library.rs2_create_context(api, ctypes.byref(error)) or error:
    sys.exit("no context")
PYTHON

# What is there by now, if anything, is damaged or from a run beside this one.
mv -T -- "$home" "$temp/old" 2>/dev/null || true
mv -T -- "$new" "$home"
check_path
