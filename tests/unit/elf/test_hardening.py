"""Hardening of real ELF files, compiled with and without each flag."""

from __future__ import annotations

import json
import subprocess

import pytest
from compile_c import Compiler
from host_tools import needs_tool

from rezbuild.build.toolchain import PROTECTED, Toolchain, find, protection
from rezbuild.elf import hardening
from rezbuild.elf.hardening import Hardening
from rezbuild.elf.reader import ElfError
from rezbuild.settings import Settings

COPIES = """\
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv) {
    char copy[32];
    strcpy(copy, argv[argc - 1]);
    return puts(copy);
}
"""
ALL = ("-O2", "-fstack-protector-strong", "-D_FORTIFY_SOURCE=2", "-fPIE", "-pie")


def program(compile_c: Compiler, *flags: str) -> Hardening:
    found = hardening.read(compile_c.program("a.out", *ALL, *flags, source=COPIES))
    assert found is not None
    return found


def test_hardened_program_has_every_protection(compile_c):
    assert (
        program(compile_c)
        == Hardening(
            kind="pie",
            relro="full",
            bind_now=True,
            nx=True,
            canary=True,
            fortified=1,
            fortifiable=1,
            ibt=False,
            shstk=False,
        )
        or program(compile_c).ibt
    )  # where the host's own start files are marked


@pytest.mark.parametrize(
    ("flag", "field", "value"),
    [
        ("-Wl,-z,lazy", "relro", "partial"),
        ("-Wl,-z,lazy", "bind_now", False),
        ("-Wl,-z,norelro", "relro", "none"),
        ("-Wl,-z,execstack", "nx", False),
        ("-no-pie", "kind", "no-pie"),
        ("-fno-stack-protector", "canary", False),
        ("-U_FORTIFY_SOURCE", "fortified", 0),
    ],
)
def test_each_missing_protection_is_found(compile_c, flag, field, value):
    found = program(compile_c, flag)
    assert getattr(found, field) == value
    # The unchecked function is still called.
    assert found.fortifiable == 1


@pytest.mark.parametrize(
    ("flag", "ibt", "shstk"),
    [
        ("full", True, True),
        ("branch", True, False),
        ("return", False, True),
        ("none", False, False),
    ],
)
def test_cet_properties_are_read(compile_c, flag, ibt, shstk):
    library = compile_c.library("libone.so", f"-fcf-protection={flag}")
    found = hardening.read(library)
    assert found is not None
    assert (found.ibt, found.shstk, found.kind) == (ibt, shstk, "shared")
    said = subprocess.run(
        ["readelf", "-nW", library], capture_output=True, text=True, check=True
    ).stdout
    assert ("IBT" in said, "SHSTK" in said) == (ibt, shstk)


def test_object_file_has_no_protections(compile_c):
    assert hardening.read(compile_c("a.o", COPIES, "-c")) is None


def test_damaged_file_is_refused(compile_c, tmp_path):
    path = tmp_path / "cut"
    path.write_bytes(compile_c.program("whole").read_bytes()[:200])
    with pytest.raises(ElfError, match="cut"):
        hardening.read(path)


@needs_tool("checksec")
@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("-no-pie", "-Wl,-z,lazy"),
        ("-fno-stack-protector", "-Wl,-z,norelro"),
        ("-U_FORTIFY_SOURCE", "-Wl,-z,execstack"),
    ],
)
def test_hardening_agrees_with_checksec(compile_c, flags):
    path = compile_c.program("a.out", *ALL, "-s", *flags, source=COPIES)
    ours = hardening.read(path)
    assert ours is not None
    done = subprocess.run(
        ["checksec", "--format=json", f"--file={path}"], capture_output=True, text=True, check=True
    )
    (theirs,) = json.loads(done.stdout).values()
    assert theirs["relro"].replace("no", "none") == ours.relro
    assert theirs["pie"] == ("yes" if ours.kind == "pie" else "no")
    assert theirs["nx"] == ("yes" if ours.nx else "no")
    assert theirs["canary"] == ("yes" if ours.canary else "no")
    assert int(theirs["fortified"]) == ours.fortified


def test_unknown_compiler_flags_are_omitted(tmp_path):
    assert protection(find(Settings(cache=tmp_path))) == list(PROTECTED)
    old = tmp_path / "old-cc"
    old.write_text('#!/bin/sh\ncase "$*" in *clash*) exit 1;; esac\nexec cc "$@"\n')
    old.chmod(0o755)
    known = protection(Toolchain(str(old), str(old), "", ""))
    assert known == [flag for flag in PROTECTED if "clash" not in flag]
