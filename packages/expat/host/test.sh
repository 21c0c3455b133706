# A part of run.sh. shellcheck shell=sh
# Its header has three numbers: XML_MAJOR_VERSION, XML_MINOR_VERSION, XML_MICRO_VERSION.
reports expat.h "$(sed -n 's/^# *define XML_M[A-Z]*_VERSION *//p' "$root/include/expat.h" \
    | tr '\n' '.' | sed 's/\.$//')"
