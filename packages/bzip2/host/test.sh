# A part of run.sh. shellcheck shell=sh
if [ "$(printf studio | "$root/bin/bzip2" -c | "$root/bin/bzip2" -dc)" = studio ]; then
    ok "bzip2"
else
    bad "bzip2: decompression gives other data"
fi
compare_version bzip2 "$("$root/bin/bzip2" --version 2>&1 </dev/null | head -n 1)"
