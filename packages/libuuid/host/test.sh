# A part of run.sh. shellcheck shell=sh
# Written by upstream's own configure.
compare_version uuid.pc "$(grep '^Version:' "$root/lib/pkgconfig/uuid.pc")"
