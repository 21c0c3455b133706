# A part of run.sh. shellcheck shell=sh
# Written by upstream's own configure.
compare_version tk.pc "$(grep '^Version:' "$root/lib/pkgconfig/tk.pc")"
