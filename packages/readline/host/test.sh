# A part of run.sh. shellcheck shell=sh
# Written by upstream's own configure.
reports readline.pc "$(grep '^Version:' "$root/lib/pkgconfig/readline.pc")"
