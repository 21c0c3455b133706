"""Compiles the modules that come with Python, for the program to link, and for a file beside it.

    _bootstrap_python freeze.py program LIB FOLDER OUT
    bin/python3 freeze.py others LIB FOLDER TABLE PROGRAM OUT

The first is run while CPython is being built, by its own _bootstrap_python: it has the compiler of
that very version and few modules. The second is run by the new interpreter where it is installed.
FOLDER is what the code calls LIB, until a loader puts its place there. What reads both is
Python/modules_code.c, in stdlib-in-the-program.patch.
"""

# _bootstrap_python has os inside; pathlib is what it works on.
# ruff: noqa: PTH112, PTH113

import _imp
import marshal
import os
import sys

# What tools import: all but what is rare, large, or only run with -m. A star: the whole package.
MODULES = """
__future__ _ast_unparse _collections_abc _colorize _compat_pickle _compression _markupbase
_opcode_metadata _py_warnings _strptime _threading_local _weakrefset
abc annotationlib argparse ast asyncio.* base64 bdb bisect bz2 calendar cmd code codecs codeop
collections.* compileall compression.* concurrent.* configparser contextlib contextvars copy
copyreg csv ctypes ctypes._endian ctypes.util dataclasses datetime decimal difflib dis email.*
encodings encodings.aliases encodings.ascii encodings.cp1252 encodings.cp437 encodings.idna
encodings.latin_1 encodings.punycode encodings.raw_unicode_escape encodings.unicode_escape
encodings.utf_16 encodings.utf_16_le encodings.utf_32 encodings.utf_8 encodings.utf_8_sig
enum filecmp fileinput fnmatch fractions functools genericpath getopt getpass gettext
glob graphlib gzip hashlib heapq hmac html.* http.* imp importlib.* inspect io
ipaddress json json.decoder json.encoder json.scanner keyword linecache locale logging.*
lzma mimetypes multiprocessing.* ntpath nturl2path numbers opcode operator os
pathlib pathlib.* pickle pkgutil platform plistlib posixpath pprint py_compile
queue quopri random re re.* reprlib rlcompleter runpy secrets selectors shlex
shutil signal site socket socketserver sqlite3 sqlite3.dbapi2 sre_compile
sre_constants sre_parse ssl stat string.* stringprep struct subprocess
sysconfig sysconfig.* tarfile tempfile textwrap threading token tokenize
tomllib.* traceback types typing unittest unittest.async_case
unittest.case unittest.loader unittest.main unittest.result unittest.runner
unittest.signals unittest.suite unittest.util urllib.* uuid warnings weakref xml
xml.etree xml.etree.ElementPath xml.etree.ElementTree xml.parsers xml.parsers.expat
zipfile zipfile.* zipimport zoneinfo.*
"""
# Of these, what stays outside: CPython itself has frozen the code, it is for Windows, or it is
# large and few tools import it (packed in the file it takes a third).
ELSEWHERE = """
_collections_abc abc codecs genericpath importlib._bootstrap importlib._bootstrap_external
importlib.machinery importlib.util io ntpath os posixpath runpy site stat zipimport
asyncio.proactor_events asyncio.windows_events asyncio.windows_utils
multiprocessing.popen_spawn_win32
email._header_value_parser email.contentmanager email.headerregistry http.server
multiprocessing.managers
"""


def modules(lib):
    """Yields name, file below lib and whether it is a package, for what this version has."""
    elsewhere = ELSEWHERE.split()
    for item in named(lib):
        if item[0] not in elsewhere:
            yield item


def named(lib):
    """Yields the same for all that MODULES names."""
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


def compiled(lib, folder, file):
    """The code of a file, as marshal has it, and the content of the file."""
    with open(f"{lib}/{file}", "rb") as stream:
        source = stream.read()
    code = compile(source, f"{folder}/{file}", "exec", dont_inherit=True)
    return marshal.dumps(code), source


def table(items, build, program):
    """``struct table`` of modules_code.c.

    Args:
        items: Path, code as it is stored, its size when it is unpacked, that of its source, and the
            source's CRC-32.
        build: Eight bytes.
        program: Where the program has its own table.
    """
    items = sorted((path.encode(), *rest) for path, *rest in items)
    at = 20 + 24 * len(items)
    # All paths together: a search reads them, a page or two, and no code.
    begin = at + sum(len(path) + 1 for path, *_ in items)
    rows, paths, codes = [], [], []
    for path, code, *rest in items:
        rows.append(numbers(at, begin, len(code), *rest))
        paths += [path, b"\0"]
        codes.append(code)
        at += len(path) + 1
        begin += len(code)
    return b"".join([build, numbers(begin, program, len(items)), *rows, *paths, *codes])


def numbers(*values):
    """Numbers as C has them on x86-64."""
    return b"".join(value.to_bytes(4, "little") for value in values)


def for_program(lib, folder, out):
    """Writes OUT.bin, the table; OUT.h, which build it is; OUT.s, which has it in assembler."""
    items = []
    for file in sorted({file for _, file, _ in modules(lib)}):
        code, source = compiled(lib, folder, file)
        # Without a sum: _bootstrap_python has no zlib.
        items.append((file, code, len(code), len(source), 0))
    build = _imp.source_hash(0, table(items, bytes(8), 0))
    with open(f"{out}.bin", "wb") as stream:
        stream.write(table(items, build, 0))
    with open(f"{out}.h", "w", encoding="ascii") as stream:
        stream.write(f"#define MODULES_BUILD {{{', '.join(str(byte) for byte in build)}}}\n")
    # Last, since it is what make looks for.
    name = "_PyImport_ModulesCode"
    with open(f"{out}.s", "w", encoding="ascii") as stream:
        stream.write(
            f"    .section .rodata\n    .balign 8\n    .globl {name}\n    .hidden {name}\n"
            f'{name}: .incbin "{out}.bin"\n'
        )


def others(lib, folder, inside, program, out):
    """Writes the file for the modules that the program has not inside."""
    import subprocess

    known = {file for _, file, _ in modules(lib)}
    items = [item for item in packed(lib, folder) if item[0] not in known]
    # Of pip and setuptools a traceback shows lines, and not which part of them: that is a quarter
    # of what their code takes when it is packed.
    options = ("-I", "-B", "-X", "no_debug_ranges")
    site = [sys.executable, *options, __file__, "site", lib, folder]
    items += marshal.loads(subprocess.run(site, stdout=subprocess.PIPE, check=True).stdout)  # noqa: S302 (our own)
    with open(inside, "rb") as stream:
        ours = stream.read()
    with open(program, "rb") as stream:
        place = stream.read().index(ours)
    with open(out, "wb") as stream:
        stream.write(table(items, ours[:8], place))


def for_site(lib, folder):
    """Writes those of site-packages to the standard output."""
    sys.stdout.buffer.write(marshal.dumps(list(packed(lib, folder, "site-packages"))))


def packed(lib, folder, part="."):
    """Yields the items of all modules of a part; without one, of all but site-packages."""
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
