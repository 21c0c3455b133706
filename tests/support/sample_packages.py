"""Small packages that build in a second, with sources in a mirror folder."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from pathlib import Path

REAL = (Path(__file__).parents[2] / "packages/openssl/package.py").read_text()
LOW = {
    "Makefile": "all:\n\t$(CC) $(CFLAGS) -Wl,-z,now -shared -fPIC -Wl,-soname,liblow.so.1 low.c"
    " -o liblow.so.1\n"
    "install:\n\tmkdir -p $(DESTDIR)$(PREFIX)/lib\n"
    "\tcp liblow.so.1 $(DESTDIR)$(PREFIX)/lib\n"
    "\tln -sf liblow.so.1 $(DESTDIR)$(PREFIX)/lib/liblow.so\n",
    "low.c": "int low(void) { return 42; }\n",
}
TOP = {
    "Makefile": "all:\n\t$(CC) $(CFLAGS) -Wl,-z,now top.c -o top $(LDFLAGS) -llow\n"
    "install:\n\tmkdir -p $(DESTDIR)$(PREFIX)/bin\n\tcp top $(DESTDIR)$(PREFIX)/bin\n",
    "top.c": "#include <stdio.h>\nint low(void);\n"
    'int main(void) { printf("%d\\n", low()); return 0; }\n',
}
LICENSE_TEXT = "Whoever gets this may do with it what they like. There is no warranty.\n"
RECIPE = """\
def build(b):
    b.search_dependencies()
    b.make(f"PREFIX={b.prefix}")
    b.install(f"PREFIX={b.prefix}", "install")
"""


class Samples:
    """Two recipes, ``low`` and ``top`` (built against it), and a mirror with their sources.

    Attributes:
        recipes: The folder of the recipes, for ``--recipes``.
        mirror: The folder of the sources, for REZBUILD_MIRRORS.
        environ: Variables that select these recipes, this mirror and a separate cache.
    """

    def __init__(self, folder: Path, recipes: str = "recipes", *, empty: bool = False) -> None:
        self.recipes = folder / recipes
        self.mirror = folder / "mirror"
        self.mirror.mkdir(parents=True)
        self.entries: dict[str, dict[str, str]] = {}
        self.environ = {
            "REZBUILD_MIRRORS": str(self.mirror),
            "REZBUILD_RECIPES": str(self.recipes),
            "REZBUILD_CACHE": str(folder / "cache"),
            # These tests must not depend on a network.
            "REZBUILD_OFFLINE": "1",
        }
        if not empty:
            self.add("low", "1.0.0", LOW)
            self.add("top", "2.0.0", TOP, requires='"low-1"')

    def add(
        self,
        name: str,
        version: str,
        files: dict[str, str],
        requires: str = "",
        mtime: int = 1_600_000_000,
    ) -> None:
        """Add a version; the newest one becomes the default."""
        folder = self.recipes / name
        folder.mkdir(parents=True, exist_ok=True)
        data = _archive(f"{name}-{version}", {"LICENSE": LICENSE_TEXT, **files}, mtime)
        (self.mirror / f"{name}-{version}.tar.gz").write_bytes(data)
        self.entries.setdefault(name, {})[version] = (
            f'[versions."{version}"]\nsha256 = "{hashlib.sha256(data).hexdigest()}"\n'
            f"size = {len(data)}\nrequires = [{requires}]\n"
        )
        # The package.py of a real package, so that these tests cover it.
        package = re.sub(r'"openssl"|"[0-9a-f-]{36}"', f'"{name}"', REAL)
        (folder / "package.py").write_text(package)
        (folder / "recipe.py").write_text(RECIPE)
        (folder / "sources.toml").write_text(
            f'default = "{version}"\nlicense = "MIT"\nprofiled = true\n'
            f'file = "{name}-{{version}}.tar.gz"\n'
            'urls = ["https://upstream.invalid/{file}"]\n' + "".join(self.entries[name].values())
        )

    def edit(self, path: str, old: str, new: str) -> None:
        """Change a file of a recipe."""
        file = self.recipes / path
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))


def _archive(top: str, files: dict[str, str], mtime: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(f"{top}/{name}")
            info.size = len(text)
            info.mtime = mtime
            archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()
