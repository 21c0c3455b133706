# A part of run.sh. shellcheck shell=sh
compare_version libz "$(LC_ALL=C grep -ao 'deflate [0-9.]* Copyright' "$root/lib/libz.so.1" | head -n 1)"
