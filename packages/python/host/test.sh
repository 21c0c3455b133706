# A part of run.sh: test the interpreter. shellcheck shell=sh
"$root/bin/python3" -I -B "$here/trials.py" "$mode" || failed=1
# glibc loads it when a thread ends by pthread_exit(3).
"$root/bin/python3" -I -S -B -c 'import ctypes; ctypes.CDLL("libgcc_s.so.1")' 2>/dev/null \
    || note "this host has no libgcc_s.so.1: Python aborts if a daemon thread runs at its exit"
compare_version python3 "$("$root/bin/python3" -I -V 2>&1)"
