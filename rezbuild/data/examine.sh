#!/bin/sh
# Compare this machine with system.txt, the table beside this script; say all that is missing, and
# the one command that installs it. `make python` runs it before there is a venv: it needs no Python.
#
#   sh examine.sh [GROUP ...]      default: setup build; exit code 10: nothing can be built here
#   sh examine.sh --raw GROUP      for rezbuild: the line of each need, and what was found of it
#
# BUILD_PATH names the folders of a build's programs; HOST_PYTHON, REZBUILD_CC and REZBUILD_CXX name
# the interpreter and the compilers.

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

# Print what there is of a need; nothing where it is missing.
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

# Print the packages of one column that bring what is missing, each once.
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
    # Blanks around a column are no part of it.
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
    echo "  next:  install it, as root, by one of these:"
    echo "      apt-get install$(packages 5)"
    echo "      dnf install$(packages 6)"
    echo "      zypper install$(packages 7)"
    echo "      pacman -S$(packages 8)"
fi
[ -z "$fatal" ] || exit 10
