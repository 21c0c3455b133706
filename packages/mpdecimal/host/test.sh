# A part of run.sh. shellcheck shell=sh
compare_version mpdecimal.h "$(grep 'MPD_VERSION ' "$root/include/mpdecimal.h")"
