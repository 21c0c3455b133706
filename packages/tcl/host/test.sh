# A part of run.sh. shellcheck shell=sh
if [ "$(echo 'puts [clock format 0 -gmt 1 -format %Y]' | "$root/bin/tclsh")" = 1970 ]; then
    ok "tclsh"
else
    bad "tclsh: a script fails"
fi
compare_version tclsh "$(echo 'puts [info patchlevel]' | "$root/bin/tclsh")"
