# A part of run.sh. shellcheck shell=sh
reports gdbmtool "$("$root/bin/gdbmtool" --version | head -n 1)"
