#!/bin/sh
# List the needs of system.txt that this machine lacks, and print the command that installs them.
# `make python` runs this before the virtual environment exists.
#
#   sh examine.sh [GROUP ...]      default: setup build; exit code 10: no build is possible
#   sh examine.sh --raw GROUP      for rezbuild: line number of each need, and its path or "there"
#
# BUILD_PATH has the folders of a build's PATH. HOST_PYTHON, REZBUILD_CC and REZBUILD_CXX are the
# interpreter and the compilers.

set -u
table=${0%/*}/system.txt
raw=
if [ "${1-}" = --raw ]; then
    raw=yes
    shift
fi
groups=" ${*:-setup build} "

build_path=${BUILD_PATH:-/usr/bin:/bin:/usr/sbin:/sbin}
python=${HOST_PYTHON:-python3}
cc=${REZBUILD_CC:-}
cxx=${REZBUILD_CXX:-}
for name in gcc cc; do
    cc=${cc:-$(PATH=$build_path; command -v $name)}
done
for name in g++ c++; do
    cxx=${cxx:-$(PATH=$build_path; command -v $name)}
done

# Print the path of a need, or "there"; print nothing if it is missing.
find_need() { # kind name
    case $1 in
    python)
        version=$(printf %s "$2" | tr . ,)
        "$python" -c "import sys; sys.exit(sys.version_info < ($version))" && echo "$python"
        ;;
    module) "$python" -c "import $2" && echo there ;;
    perl) (PATH=$build_path; perl "-M$2" -e 1) && echo there ;;
    header)
        printf '#include <stdio.h>\n#include <%s>\n' "$2" |
            (PATH=$build_path; "${cc:-cc}" -E -I/usr/include/freetype2 -x c -) >/dev/null &&
            echo there
        ;;
    program)
        case $2 in
        cc) set -- program "${cc:-cc}" ;;
        c++) set -- program "${cxx:-c++}" ;;
        esac
        (PATH=$build_path; command -v "$2")
        ;;
    library) (PATH=$PATH:/usr/sbin:/sbin; ldconfig -p) | grep -F "$2 " >/dev/null && echo there ;;
    tool) command -v "$2" ;;
    esac 2>/dev/null
}

# Print the system packages with the missing needs, from one column of the table.
packages() { # column
    names=
    for number in $missing; do
        for name in $(sed -n "${number}p" "$table" | cut -d '|' -f "$1"); do
            case " $names " in
            *" $name "*) ;;
            *) names="$names $name" ;;
            esac
        done
    done
    echo "$names"
}

fatal=
missing=
number=0
while IFS='|' read -r group need _ lost _; do
    number=$((number + 1))
    # Word splitting removes the blanks around a column.
    set -- $group
    case $groups in
    *" ${1-#} "*) ;;
    *) continue ;;
    esac
    set -- $need
    found=$(find_need "$1" "$2" </dev/null)
    if [ -n "$raw" ]; then
        echo "$number $found"
    elif [ -z "$found" ]; then
        [ -n "$missing" ] || echo "this machine lacks:"
        missing="$missing $number"
        case $1 in
        module) echo "  $2 of $python" ;;
        python) echo "  Python $2" ;;
        perl) echo "  Perl module $2" ;;
        *) echo "  $1 $2" ;;
        esac
        set -- $lost
        [ $# -gt 0 ] || fatal=yes
    fi
done <"$table"

[ -n "$missing" ] || exit 0
column=5
known=
for command in "apt-get install" "dnf install" "zypper install" "pacman -S"; do
    if command -v "${command%% *}" >/dev/null; then
        known=yes
        echo "  next:  install it, as root: $command$(packages $column)"
        break
    fi
    column=$((column + 1))
done
if [ -z "$known" ]; then
    echo "  next:  install it, as root, by the command of your system:"
    echo "      apt-get install$(packages 5)"
    echo "      dnf install$(packages 6)"
    echo "      zypper install$(packages 7)"
    echo "      pacman -S$(packages 8)"
fi
[ -z "$fatal" ] || exit 10
