#!/bin/sh
# Test this payload on this host: sh run.sh [long]
# The test needs neither Rez nor rezbuild.
set -u
mode=${1:-quick}
here=$(cd -- "$(dirname -- "$0")" && pwd -P) || exit 2
root=$(dirname -- "$here")
loader=@LOADER@
version=@VERSION@
failed=0

ok() { printf 'ok      %s\n' "$1"; }
note() { printf 'note    %s\n' "$1"; }
bad() { printf 'FAILED  %s\n' "$1"; failed=1; }
# compare_version NAME TEXT: check that TEXT contains the version of this package.
compare_version() {
    case " $2 " in
        *[!0-9A-Za-z.]"$version"[!0-9A-Za-z.]*) ok "$1 has version $version" ;;
        *) bad "$1 has not version $version: it prints \"$(printf '%s' "$2" | head -n 1)\"" ;;
    esac
}
# Variables of a DCC or a user must not change the result.
unset LD_LIBRARY_PATH LD_PRELOAD PYTHONHOME PYTHONPATH SSL_CERT_FILE SSL_CERT_DIR

# Let the host's loader find the libraries of each program and library, ld.so(8). It does what ldd
# does: with --list, it would end at the first library that is missing.
load_libraries() {
    number=0
    while IFS= read -r file; do
        if [ ! -f "$root/$file" ]; then
            bad "$file is missing: copy the payload again"
            continue
        fi
        said=$(LC_ALL=C LD_TRACE_LOADED_OBJECTS=1 "$loader" "$root/$file" 2>&1)
        status=$?
        case $said in *'failed to map segment'*)
            bad "programs cannot run in $root: its file system is mounted with noexec"
            return ;;
        esac
        if ! lost=$(printf '%s\n' "$said" | grep 'not found'); then
            if [ "$status" -eq 0 ]; then
                number=$((number + 1))
            else
                bad "$file cannot be loaded ($status): copy the payload again"
            fi
            continue
        fi
        for name in @HOST@; do
            if printf '%s\n' "$lost" | grep -q "^[[:space:]]*$name => not found"; then
                note "$file does not load here: this host has no $name"
                lost=$(printf '%s\n' "$lost" | grep -v "^[[:space:]]*$name => not found")
            fi
        done
        [ -z "$lost" ] || bad "$file: $(printf '%s' "$lost" | tr '\n' ';' | tr -d '\t')"
    done <"$here/files"
    [ "$failed" -ne 0 ] || ok "$number programs and libraries load with this host's glibc"
}

# Compare each file with its checksum in the build, sha256sum(1).
compare_checksums() {
    if ! command -v sha256sum >/dev/null; then
        note "the checksums were not compared: this host has no sha256sum"
    elif said=$(cd -- "$root" && LC_ALL=C sha256sum -c rezbuild-files.sha256 2>/dev/null); then
        ok "$(printf '%s\n' "$said" | grep -c ': OK$') files have the checksums of the build"
    else
        bad "files differ from the build: $(printf '%s\n' "$said" \
            | grep -v ': OK$' | head -n 5 | tr '\n' ';')"
    fi
}

if [ "$mode" = long ]; then
    compare_checksums
fi
# ld.so(8) computes $ORIGIN of a program from /proc/self/exe.
[ -e /proc/self/exe ] || note "/proc is not mounted here: programs load libraries of the host\
 instead of this package's; only python3 from 3.11 on is not affected"
if [ -x "$loader" ]; then
    load_libraries
else
    bad "this host has no $loader: the payload is for another kind of machine"
fi
if [ "$failed" -eq 0 ] && [ -f "$here/test.sh" ]; then
    . "$here/test.sh"
fi
exit "$failed"
