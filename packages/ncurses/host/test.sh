# A part of run.sh. shellcheck shell=sh
if [ "$("$root/bin/tput" -T xterm-256color colors)" = 256 ]; then
    ok "tput"
else
    bad "tput: the terminal xterm-256color is not known"
fi
# tput prints the date of a snapshot after the version.
said=$("$root/bin/tput" -V)
compare_version tput "${said%.*}"
