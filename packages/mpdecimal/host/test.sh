# A part of run.sh. shellcheck shell=sh
reports mpdecimal.h "$(grep 'MPD_VERSION ' "$root/include/mpdecimal.h")"
