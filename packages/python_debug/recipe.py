"""What gdb reads of the python that was built here: the debug data put aside by that build."""

import shutil

from rezbuild.payload import debug_data

# Of the source: what a backtrace can name.
FOLDERS = ("Include", "Modules", "Objects", "Parser", "Programs", "Python")
SCRIPT = r"""#!/bin/sh
# The host's gdb, with what this package has to say of its python: the arguments are gdb's own.
root=$(cd -- "$(dirname -- "$(readlink -f -- "$0")")/.." && pwd -P) || exit 2
if ! command -v gdb >/dev/null 2>&1; then
    echo "gdb-python: this host has no gdb; its package is called gdb with apt, dnf and zypper" >&2
    exit 127
fi
# By build-ids, so it does not matter where the python stands.
exec gdb -iex "set debug-file-directory $root/lib/debug:/usr/lib/debug" \
    -iex "set directories \"$root/share/python-gdb/source\"" \
    -iex "set substitute-path /usr/src/debug/python \"$root/share/python-gdb/source\"" \
    -iex "source $root/share/python-gdb/python-gdb.py" "$@"
"""


def build(b):
    """Takes exactly the data that fits the files of the python that Rez resolved."""
    for build_id, path in debug_data.find(b.dependency("python"), b.debug_store).items():
        target = b.payload / "lib/debug/.build-id" / debug_data.place(build_id)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    share = b.payload / "share/python-gdb"
    share.mkdir(parents=True)
    shutil.copyfile(b.source / "Tools/gdb/libpython.py", share / "python-gdb.py")
    for folder in FOLDERS:
        for path in (b.source / folder).rglob("*.[ch]"):
            target = share / "source" / path.relative_to(b.source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    program = b.payload / "bin/gdb-python"
    program.parent.mkdir()
    program.write_text(SCRIPT)
    program.chmod(0o755)
