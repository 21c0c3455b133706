"""Debug data for gdb, which the build of python has kept in the cache."""

import shutil

from rezbuild.build.recipe_api import Build
from rezbuild.payload import debug_data

# Folders of the source whose files a backtrace can name.
FOLDERS = ("Include", "Modules", "Objects", "Parser", "Programs", "Python")
SCRIPT = r"""#!/bin/sh
# Start the host's gdb with this package's debug data; the arguments are those of gdb.
root=$(cd -- "$(dirname -- "$(readlink -f -- "$0")")/.." && pwd -P) || exit 2
if ! command -v gdb >/dev/null 2>&1; then
    echo "gdb-python: this host has no gdb; its package is called gdb with apt, dnf and zypper" >&2
    exit 127
fi
# gdb finds debug data by build-id, so python may be in any folder.
exec gdb -iex "set debug-file-directory $root/lib/debug:/usr/lib/debug" \
    -iex "set directories \"$root/share/python-gdb/source\"" \
    -iex "set substitute-path /usr/src/debug/python \"$root/share/python-gdb/source\"" \
    -iex "source $root/share/python-gdb/python-gdb.py" "$@"
"""


def build(b: Build) -> None:
    """Copy the debug data whose build-ids are those of the python that Rez resolved."""
    for build_id, path in debug_data.find(b.dependency("python"), b.debug_store).items():
        target = b.payload / "lib/debug/.build-id" / debug_data.path_of(build_id)
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
