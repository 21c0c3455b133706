# A part of run.sh. shellcheck shell=sh
# Written by upstream's own configure.
compare_version libxcrypt.pc "$(grep '^Version:' "$root/lib/pkgconfig/libxcrypt.pc")"
