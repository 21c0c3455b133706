# A part of run.sh. shellcheck shell=sh
# The header has three numbers: XML_MAJOR_VERSION, XML_MINOR_VERSION, XML_MICRO_VERSION.
compare_version expat.h "$(sed -n 's/^# *define XML_M[A-Z]*_VERSION *//p' "$root/include/expat.h" \
    | tr '\n' '.' | sed 's/\.$//')"
