# A part of run.sh. shellcheck shell=sh
compare_version gdbmtool "$("$root/bin/gdbmtool" --version | head -n 1)"
