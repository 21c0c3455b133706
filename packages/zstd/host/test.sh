# A part of run.sh. shellcheck shell=sh
if [ "$(printf studio | "$root/bin/zstd" -c | "$root/bin/zstd" -dc)" = studio ]; then
    ok "zstd"
else
    bad "zstd: decompression gives other data"
fi
compare_version zstd "$("$root/bin/zstd" --version 2>&1 | tr v ' ')"
