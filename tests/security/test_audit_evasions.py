"""Payloads that look clean but hide a fault, which the audit must find."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from rezbuild import audit

HARDENED = ["-Wl,-z,relro,-z,now"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "payload"
    (folder / "lib").mkdir(parents=True)
    (folder / "bin").mkdir()
    return folder


def rules(tree: Path, own: bool = True) -> dict[str, str]:
    """Return the audit's last message of each rule."""
    return {f.rule.id: f.message for f in audit.audit(tree, own=own).findings}


def compile_c(path: Path, source: str, *flags: str) -> Path:
    argv = ["cc", "-x", "c", "-", "-x", "none", "-o", path, *flags, *HARDENED]
    subprocess.run(argv, input=source, text=True, check=True)
    return path


def program(path: Path, text: str) -> Path:
    return compile_c(path, f'#include <stdio.h>\nint main(void) {{ return puts("{text}"); }}\n')


@pytest.mark.parametrize(
    ("text", "rule", "severity"),
    [
        ("/usr/lib/x86_64-linux-gnu/libcuda.so.1", "dlopen-absolute", "error"),
        ("/opt/vendor/libx.so", "dlopen-absolute", "error"),
        ("libcuda.so.1", "dlopen-host", "note"),
        ("libx.so", "dlopen-host", "note"),
    ],
)
def test_name_for_dlopen_is_a_finding(tree, text, rule, severity):
    program(tree / "bin/x", text)
    found = audit.audit(tree, own=True).findings
    assert [(f.rule.id, f.message, f.severity) for f in found] == [(rule, text, severity)]


@pytest.mark.parametrize(
    "text", ["libown.so", "libown.so.1", "libc.so.6", "see libx.so.1", "libx.so!"]
)
def test_known_name_for_dlopen_is_allowed(tree, text):
    compile_c(tree / "lib/libown.so.1", "int x;", "-shared", "-fPIC", "-Wl,-soname,libown.so.1")
    program(tree / "bin/x", text)
    assert rules(tree) == {}


@pytest.mark.parametrize(
    "spelling",
    [
        str,
        lambda path: str(path).replace("/", "//"),
        lambda path: f"//{str(path)[1:]}",
        lambda path: str(path).replace("/", "/./"),
        lambda path: str(path).replace("/", "/.//"),
        lambda path: str(path).replace("/", "\\/"),
    ],
)
@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_own_path_is_found_in_each_spelling(tree, spelling, binary):
    text = f'"{spelling(tree)}"'
    (tree / "file").write_bytes(text.encode() + (b"\0" if binary else b"\n"))
    assert "build-path" in rules(tree)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16"])
def test_own_path_in_utf_16_is_found(tree, encoding):
    (tree / "file").write_bytes(b"x\0\0" + f"at {tree}/lib".encode(encoding))
    assert rules(tree)["build-path"] == f"it names {tree}"


@pytest.mark.parametrize("how", ["zlib", "zlib-gnu", "zlib-gabi"])
def test_own_path_in_compressed_debug_data_is_found(tree, how):
    library = compile_c(tree / "lib/libx.so", "int x;", "-shared", "-fPIC")
    paths = tree.parent / "paths"
    paths.write_text(f"{tree}/x.c\0" * 100)
    subprocess.run(["objcopy", "--add-section", f".debug_x={paths}", library], check=True)
    assert rules(tree)["build-path"] == f"it names {tree}"
    subprocess.run(["objcopy", f"--compress-debug-sections={how}", library], check=True)
    assert str(tree).encode() not in library.read_bytes()
    name = ".zdebug_x" if how == "zlib-gnu" else ".debug_x"
    assert rules(tree)["build-path"] == f"its section {name} names {tree}"


def test_damaged_compressed_section_is_named(tree):
    library = compile_c(tree / "lib/libx.so", "int x;", "-g", "-shared", "-fPIC")
    noise = tree.parent / "noise"
    noise.write_bytes(b"ZLIB" + bytes(8) + os.urandom(1000))
    subprocess.run(["objcopy", "--add-section", f".zdebug_x={noise}", library], check=True)
    assert "a compressed section is damaged" in rules(tree)["elf-damaged"]


@pytest.mark.parametrize(
    ("script", "rule", "says"),
    [
        ("#!/usr/bin/env -S PYTHONPATH=/x /opt/python3\n", "shebang", "/opt/python3"),
        ("#!/usr/bin/env -i /opt/python3\n", "shebang", "/opt/python3"),
        ("#!/bin/sh\n'''exec' /opt/venv/bin/python \"$0\" \"$@\"\n' '''\n", "shebang", "/opt/venv"),
        ('#!/bin/sh\n"exec" "/opt/venv/bin/python" "$0"\n', "shebang", "/opt/venv"),
        ("#!/bin/sh /opt/wrapper\n", "shebang", "/opt/wrapper"),
        ("#!/bin/sh -e /opt/wrapper\n", "shebang", "/opt/wrapper"),
        ("#!/usr/bin/env python\n", "shebang-path", "python"),
        ("#!/usr/bin/env -S python3.11 -I\n", "shebang-path", "python3.11"),
    ],
)
def test_script_of_another_interpreter_is_a_finding(tree, script, rule, says):
    (tree / "bin/x").write_text(script)
    (tree / "bin/x").chmod(0o755)
    found = rules(tree)
    assert set(found) == {rule}
    assert says in found[rule]


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("bin/x", '#!/bin/sh\nexec "$(dirname "$0")/python3" "$@"\n'),
        ("bin/x", '#!/bin/sh\n\'\'\'exec\' "$(dirname -- "$0")/python3" "$0"\n'),
        ("bin/x", "#!/usr/bin/env -S A=b perl -w\n"),
        ("lib/python3.11/base64.py", "#!/usr/bin/env python3\n"),
    ],
)
def test_script_of_the_own_interpreter_is_allowed(tree, name, script):
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    path.chmod(0o755)
    assert rules(tree) == {}


@pytest.mark.parametrize("token", ["$LIB", "${LIB}", "$PLATFORM", "${PLATFORM}"])
def test_host_token_in_a_rpath_is_an_error(tree, token):
    """On a host whose $LIB is lib, the library is found; on others it is not."""
    compile_c(tree / "lib/libx.so", "int x;", "-shared", "-fPIC", "-Wl,-soname,libx.so")
    shutil.copytree(tree / "lib", tree / "lib/lib")
    rpath = f"-Wl,--disable-new-dtags,-rpath,$ORIGIN/../lib:$ORIGIN/../lib/{token}"
    compile_c(
        tree / "bin/x",
        "extern int x;\nint main(void) { return x; }\n",
        rpath,
        str(tree / "lib/libx.so"),
    )
    assert rules(tree)["rpath-token"] == f"$ORIGIN/../lib/{token} has {token}"


@pytest.mark.parametrize("kind", ["object", "program"])
def test_needed_file_that_is_no_library_is_an_error(tree, kind):
    """ld.so finds the file, and stops."""
    library = compile_c(tree / "lib/libx.so", "int x;", "-shared", "-fPIC", "-Wl,-soname,libx.so")
    rpath = "-Wl,--disable-new-dtags,-rpath,$ORIGIN/../lib"
    compile_c(tree / "bin/x", "extern int x;\nint main(void) { return x; }\n", rpath, str(library))
    assert rules(tree) == {}
    library.unlink()
    if kind == "object":
        subprocess.run(["cc", "-c", "-x", "c", "-", "-o", library], input=b"int x;", check=True)
    else:
        compile_c(library, "int main(void) { return 0; }", "-static")
    assert "libx.so" in rules(tree)["needed-unresolved"]


@pytest.mark.parametrize("kind", ["FIFO", "socket", "device"])
def test_special_file_is_an_error(tree, kind):
    path = tree / "x"
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    else:
        try:
            os.mknod(path, 0o20644, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("no devices can be made here")
    path.chmod(0o644)
    assert rules(tree) == {"special-file": f"it is a {kind}"}


def test_file_capabilities_are_an_error(tree):
    program_ = program(tree / "bin/x", "hello")
    # vfs_cap_data of version 2: CAP_NET_RAW, as setcap(8) writes it.
    data = (0x02000001).to_bytes(4, "little") + (1 << 13).to_bytes(4, "little") + bytes(12)
    try:
        os.setxattr(program_, "security.capability", data)
    except OSError:
        pytest.skip("no capabilities can be set here")
    assert rules(tree) == {"capabilities": "it has security.capability"}
