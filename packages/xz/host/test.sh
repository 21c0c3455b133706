# A part of run.sh. shellcheck shell=sh
if [ "$(printf studio | "$root/bin/xz" -c | "$root/bin/xz" -dc)" = studio ]; then
    ok "xz"
else
    bad "xz: decompression gives other data"
fi
compare_version xz "$("$root/bin/xz" --version)"
