"""Writes the code of the standard library's common modules in assembler, for the program to link.

    _bootstrap_python freeze.py LIB FOLDER OUT

Run by CPython's own _bootstrap_python while it is being built: it has the compiler of that very
version and few modules. FOLDER is what the code calls Lib, until a loader puts its place there.
"""

# _bootstrap_python has os inside; pathlib is what it works on.
# ruff: noqa: PTH112, PTH113

import marshal
import os
import sys

# What tools import: all but what is rare, large, or only run with -m. A star: the whole package.
MODULES = """
__future__ _collections_abc _compat_pickle _compression _markupbase _opcode_metadata
_strptime _threading_local _weakrefset
abc argparse ast asyncio.* base64 bdb bisect bz2 calendar cmd code codecs codeop
collections.* compileall concurrent.* configparser contextlib contextvars copy copyreg csv
ctypes ctypes._endian ctypes.util dataclasses datetime decimal difflib dis email.*
encodings encodings.aliases encodings.ascii encodings.cp1252 encodings.cp437 encodings.idna
encodings.latin_1 encodings.punycode encodings.raw_unicode_escape encodings.unicode_escape
encodings.utf_16 encodings.utf_16_le encodings.utf_32 encodings.utf_8 encodings.utf_8_sig
enum filecmp fileinput fnmatch fractions functools genericpath getopt getpass gettext
glob graphlib gzip hashlib heapq hmac html.* http.* imp importlib.* inspect io
ipaddress json json.decoder json.encoder json.scanner keyword linecache locale logging.*
lzma mimetypes multiprocessing.* ntpath nturl2path numbers opcode operator optparse os
pathlib pathlib.* pickle pkgutil platform plistlib posixpath pprint py_compile
queue quopri random re re.* reprlib rlcompleter runpy secrets selectors shlex
shutil signal site socket socketserver sqlite3 sqlite3.dbapi2 sre_compile
sre_constants sre_parse ssl stat statistics string stringprep struct subprocess
sysconfig sysconfig.* tarfile tempfile textwrap threading token tokenize
tomllib.* traceback types typing unittest unittest.async_case
unittest.case unittest.loader unittest.main unittest.mock unittest.result unittest.runner
unittest.signals unittest.suite unittest.util urllib.* uuid warnings weakref xml
xml.dom xml.dom.NodeFilter xml.dom.domreg xml.dom.minicompat xml.dom.minidom xml.etree
xml.etree.ElementPath xml.etree.ElementTree xml.parsers xml.parsers.expat
zipfile zipfile.* zipimport zoneinfo.*
"""


def modules(lib):
    """Yields name, file below lib and whether it is a package, for what this version has."""
    for name in MODULES.split():
        whole = name.endswith(".*")
        path = name[:-2] if whole else name
        path = path.replace(".", "/")
        if not os.path.isdir(f"{lib}/{path}"):
            if os.path.isfile(f"{lib}/{path}.py"):
                yield path.replace("/", "."), f"{path}.py", False
        elif os.path.isfile(f"{lib}/{path}/__init__.py"):
            yield from package(lib, path) if whole else [own(path)]


def package(lib, path):
    """Yields the same for a package and all below it, but not what only -m runs."""
    yield own(path)
    for name in sorted(os.listdir(f"{lib}/{path}")):
        stem, _, suffix = name.rpartition(".")
        if os.path.isfile(f"{lib}/{path}/{name}/__init__.py"):
            yield from package(lib, f"{path}/{name}")
        elif suffix == "py" and stem not in ("__init__", "__main__"):
            yield f"{path}/{stem}".replace("/", "."), f"{path}/{name}", False


def own(path):
    """The module that is a package itself."""
    return path.replace("/", "."), f"{path}/__init__.py", True


def main(lib, folder, out):
    """Compiles each module; writes the table in assembler, and the code it includes beside it."""
    found = {name: rest for name, *rest in modules(lib)}
    table, names, offset = [], [], 0
    with open(f"{out}.bin", "wb") as blob:
        for number, (name, (file, is_package)) in enumerate(sorted(found.items())):
            with open(f"{lib}/{file}", "rb") as source:
                code = compile(source.read(), f"{folder}/{file}", "exec", dont_inherit=True)
            data = marshal.dumps(code)
            blob.write(data)
            names.append(f'N{number}: .asciz "{name}"')
            # struct stdlib_code (Python/import.c)
            table.append(f"    .quad N{number}, CODE + {offset}")
            table.append(f"    .long {len(data)}, {int(is_package)}")
            offset += len(data)
    lines = [
        *("    .section .rodata", f'CODE: .incbin "{out}.bin"', *names),
        *('    .section .data.rel.ro, "aw"', "    .balign 8"),
        *(
            "    .globl _PyImport_StdlibCode",
            "    .hidden _PyImport_StdlibCode",
            "_PyImport_StdlibCode:",
            *table,
            "    .zero 24",
        ),
    ]
    with open(out, "w", encoding="ascii") as stream:
        stream.write("\n".join([*lines, ""]))


if __name__ == "__main__":
    main(*sys.argv[1:])
