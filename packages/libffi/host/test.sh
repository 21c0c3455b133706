# A part of run.sh. shellcheck shell=sh
# Written by upstream's own configure.
compare_version libffi.pc "$(grep '^Version:' "$root/lib/pkgconfig/libffi.pc")"
