# A part of run.sh: test the interpreter. shellcheck shell=sh
"$root/bin/python3" -I -B "$here/trials.py" "$mode" || failed=1
compare_version python3 "$("$root/bin/python3" -I -V 2>&1)"
