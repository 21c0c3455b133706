# A part of run.sh. shellcheck shell=sh
# Written by upstream's own configure.
reports libffi.pc "$(grep '^Version:' "$root/lib/pkgconfig/libffi.pc")"
