"""Compile the standard library: common modules for the program, the others for a file.

    _bootstrap_python freeze.py program LIB FOLDER OUT
    bin/python3 freeze.py others LIB FOLDER TABLE PROGRAM OUT

CPython's build runs the first command with its _bootstrap_python, which has the compiler of that
version and few modules. The new interpreter runs the second after the installation. FOLDER is the
name of LIB in code objects; a loader replaces it by the real folder. Python/modules_code.c (in
stdlib-in-the-program.patch) reads both results.
"""

# _bootstrap_python has os, but not pathlib.
# ruff: noqa: PTH112, PTH113

import _imp
import marshal
import os
import sys

# Modules that tools import: all except rare, large and -m modules. A star means the whole package.
# The program has their code in this order. The modules of each start and of most tools are first,
# so that the code that a process reads is on few pages.
MODULES = """
encodings encodings.aliases encodings.utf_8 linecache
_colorize _opcode_metadata _weakrefset argparse ast asyncio.* base64 collections.* concurrent.*
contextlib contextvars copy copyreg dataclasses dis enum fnmatch functools gettext glob heapq
importlib inspect json json.decoder json.encoder json.scanner keyword locale logging opcode operator
pathlib.* re.* reprlib selectors signal socket ssl string.* struct subprocess textwrap threading
token tokenize traceback types typing urllib urllib.parse warnings weakref

__future__ _ast_unparse _collections_abc _compat_pickle _compression _markupbase _py_warnings
_strptime _threading_local abc annotationlib bdb bisect bz2 calendar cmd code codecs codeop
compileall compression.* configparser csv ctypes ctypes._endian ctypes.util datetime decimal difflib
email.* encodings.ascii encodings.cp1252 encodings.cp437 encodings.idna encodings.latin_1
encodings.punycode encodings.raw_unicode_escape encodings.unicode_escape encodings.utf_16
encodings.utf_16_le encodings.utf_32 encodings.utf_8_sig filecmp fileinput fractions genericpath
getopt getpass graphlib gzip hashlib hmac html.* http.* imp importlib.* io ipaddress logging.* lzma
mimetypes multiprocessing.* ntpath nturl2path numbers os pickle pkgutil platform plistlib posixpath
pprint py_compile queue quopri random rlcompleter runpy secrets shlex shutil site socketserver
sqlite3 sqlite3.dbapi2 sre_compile sre_constants sre_parse stat stringprep sysconfig sysconfig.*
tarfile tempfile tomllib.* unittest unittest.async_case unittest.case unittest.loader unittest.main
unittest.result unittest.runner unittest.signals unittest.suite unittest.util urllib.* uuid xml
xml.etree xml.etree.ElementPath xml.etree.ElementTree xml.parsers xml.parsers.expat zipfile
zipfile.* zipimport zoneinfo.*
"""
# Exceptions from MODULES: CPython has frozen the code, it is for Windows, or it is large and few
# tools import it (in the packed file, it takes a third of the size).
ELSEWHERE = """
_collections_abc abc codecs genericpath importlib._bootstrap importlib._bootstrap_external
importlib.machinery importlib.util io ntpath os posixpath runpy site stat zipimport
asyncio.proactor_events asyncio.windows_events asyncio.windows_utils
multiprocessing.popen_spawn_win32
email._header_value_parser email.contentmanager email.headerregistry http.server
multiprocessing.managers
"""


def modules(lib):
    """Yield name, file below lib, and whether it is a package, of the modules in the program."""
    elsewhere = ELSEWHERE.split()
    for item in named(lib):
        if item[0] not in elsewhere:
            yield item


def named(lib):
    """Yield the same for all modules in MODULES that this version has."""
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
    """Yield the same for a package and all modules below it, without ``__main__``."""
    yield own(path)
    for name in sorted(os.listdir(f"{lib}/{path}")):
        stem, _, suffix = name.rpartition(".")
        if os.path.isfile(f"{lib}/{path}/{name}/__init__.py"):
            yield from package(lib, f"{path}/{name}")
        elif suffix == "py" and stem not in ("__init__", "__main__"):
            yield f"{path}/{stem}".replace("/", "."), f"{path}/{name}", False


def own(path):
    """Return the same for the package itself, i.e. its ``__init__.py``."""
    return path.replace("/", "."), f"{path}/__init__.py", True


def compiled(lib, folder, file):
    """Return the marshalled code and the content of a file."""
    with open(f"{lib}/{file}", "rb") as stream:
        source = stream.read()
    code = compile(source, f"{folder}/{file}", "exec", dont_inherit=True)
    return marshal.dumps(code), source


def table(items, build, program):
    """Return ``struct table`` of modules_code.c.

    Args:
        items: Path, stored code, size of the unpacked code, size and CRC-32 of the source. The
            table has the code in this order.
        build: Eight bytes.
        program: The position of the program's own table.
    """
    items = [(path.encode() + b"\0", *rest) for path, *rest in items]
    at = 20 + 24 * len(items)
    # All paths are together: a search reads one or two pages of them, and no code.
    end = at + sum(len(path) for path, *_ in items)
    places = {}
    for path, code, *_ in items:
        places[path] = end
        end += len(code)
    rows = []
    for path, code, *rest in sorted(items):
        rows.append(numbers(at, places[path], len(code), *rest))
        at += len(path)
    paths = sorted(places)
    codes = [code for _, code, *_ in items]
    return b"".join([build, numbers(end, program, len(items)), *rows, *paths, *codes])


def numbers(*values):
    """Return numbers as C stores them on x86-64."""
    return b"".join(value.to_bytes(4, "little") for value in values)


def for_program(lib, folder, out):
    """Write OUT.bin (the table), OUT.h (the build's identity) and OUT.s (assembler code)."""
    items = []
    for file in dict.fromkeys(file for _, file, _ in modules(lib)):
        code, source = compiled(lib, folder, file)
        # No CRC-32: _bootstrap_python has no zlib.
        items.append((file, code, len(code), len(source), 0))
    build = _imp.source_hash(0, table(items, bytes(8), 0))
    with open(f"{out}.bin", "wb") as stream:
        stream.write(table(items, build, 0))
    with open(f"{out}.h", "w", encoding="ascii") as stream:
        stream.write(f"#define MODULES_BUILD {{{', '.join(str(byte) for byte in build)}}}\n")
    # Written last, since it is the target of the make rule.
    name = "_PyImport_ModulesCode"
    with open(f"{out}.s", "w", encoding="ascii") as stream:
        stream.write(
            f"    .section .rodata\n    .balign 8\n    .globl {name}\n    .hidden {name}\n"
            f'{name}: .incbin "{out}.bin"\n'
        )


def others(lib, folder, inside, program, out):
    """Write the file for the modules that are not in the program."""
    import subprocess

    known = {file for _, file, _ in modules(lib)}
    items = [item for item in packed(lib, folder) if item[0] not in known]
    # For pip and setuptools, tracebacks show lines without the exact columns: the columns take a
    # quarter of their packed code.
    options = ("-I", "-B", "-X", "no_debug_ranges")
    site = [sys.executable, *options, __file__, "site", lib, folder]
    items += marshal.loads(subprocess.run(site, stdout=subprocess.PIPE, check=True).stdout)  # noqa: S302 (this file has written it)
    with open(inside, "rb") as stream:
        ours = stream.read()
    with open(program, "rb") as stream:
        place = stream.read().index(ours)
    with open(out, "wb") as stream:
        # modules_code.c reads the file up to the code of the first path.
        stream.write(table(sorted(items), ours[:8], place))


def for_site(lib, folder):
    """Write the items of site-packages to standard output."""
    sys.stdout.buffer.write(marshal.dumps(list(packed(lib, folder, "site-packages"))))


def packed(lib, folder, part="."):
    """Yield the items of the modules in a folder; by default, of all except site-packages."""
    import zlib

    for place, folders, names in os.walk(f"{lib}/{part}"):
        folders[:] = sorted(set(folders) - {"site-packages"})
        for name in sorted(names):
            file = os.path.relpath(f"{place}/{name}", lib)
            if file.endswith(".py"):
                code, source = compiled(lib, folder, file)
                yield file, zlib.compress(code, 9), len(code), len(source), zlib.crc32(source)


if __name__ == "__main__":
    {"program": for_program, "others": others, "site": for_site}[sys.argv[1]](*sys.argv[2:])
