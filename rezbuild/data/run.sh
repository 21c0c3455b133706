#!/bin/sh
# Proves this payload on the host that runs it: sh run.sh [long]
# It needs sh and the payload, and neither Rez nor rezbuild.
set -u
mode=${1:-quick}
here=$(cd -- "$(dirname -- "$0")" && pwd -P) || exit 2
root=$(dirname -- "$here")
loader=@LOADER@
failed=0

ok() { printf 'ok      %s\n' "$1"; }
note() { printf 'note    %s\n' "$1"; }
bad() { printf 'FAILED  %s\n' "$1"; failed=1; }
# What a DCC or a user has set must not decide.
unset LD_LIBRARY_PATH LD_PRELOAD PYTHONHOME PYTHONPATH SSL_CERT_FILE SSL_CERT_DIR

# Each program and library, as the host's own loader sees it. ld.so(8).
libraries() {
    number=0
    while IFS= read -r file; do
        number=$((number + 1))
        if [ ! -f "$root/$file" ]; then
            bad "$file is missing: copy the payload again"
            continue
        fi
        said=$(LC_ALL=C "$loader" --list "$root/$file" 2>&1)
        status=$?
        if ! lost=$(printf '%s\n' "$said" | grep 'not found'); then
            [ "$status" -eq 0 ] || bad "$file cannot be loaded ($status): copy the payload again"
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

if [ -x "$loader" ]; then
    libraries
else
    bad "this host has no $loader: the payload is for another kind of machine"
fi
if [ "$failed" -eq 0 ] && [ -f "$here/test.sh" ]; then
    . "$here/test.sh"
fi
exit "$failed"
