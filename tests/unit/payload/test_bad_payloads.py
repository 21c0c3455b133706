"""Payloads with damaged files, unusual names and many files."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from build_machine import BODY, FILE, release
from damage import DAMAGE, apply_damage, examples, refusal
from elf_chain import Chain, run
from fuzz import FACTOR
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rezbuild import audit
from rezbuild.audit import show
from rezbuild.cli import main
from rezbuild.elf import reader, symbols
from rezbuild.errors import UsageError
from rezbuild.files.unpack import unpack
from rezbuild.payload import manifest, relocate
from rezbuild.rez_plugin import build_command
from rezbuild.run import export
from rezbuild.settings import Settings
from rezbuild.sources.fetch import Fetcher

ODD = ["a b q'\"", "n\nl", "$ORIGINAL", "gr\u00fcn", "l\udce4tin %s{x}*?[x]"]


@pytest.fixture(params=ODD)
def odd_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Make a folder with a name that breaks careless scripts."""
    place = tmp_path / f"{request.param} {request.param}"
    place.mkdir()
    return place


# Names


def test_payload_runs_in_any_folder(odd_folder: Path, tmp_path: Path, compile_c: Any) -> None:
    chain = Chain(compile_c, tmp_path)
    chain.relocate()
    program = chain.move(odd_folder / "payload")
    assert run(program) == "42"
    report = audit.audit(odd_folder / "payload")
    assert report.errors == ()
    assert len(report.elf) == 4


@pytest.mark.parametrize("name", ["$ORIGIN", "a $LIB b", "${PLATFORM}", "x$ORIGIN/y"])
def test_folder_with_a_token_of_ld_so_is_refused(tmp_path: Path, compile_c: Any, name: str) -> None:
    """ld.so expands a path in DT_NEEDED twice."""
    chain = Chain(compile_c, tmp_path)
    chain.relocate()
    place = tmp_path / name / "payload"
    place.parent.mkdir(parents=True)
    shutil.move(chain.payload, place)
    if "ORIGIN" in name:  # if it ran, there would be no need to refuse it
        assert "cannot open shared object file" in run(place / "bin/program")
    with pytest.raises(UsageError, match="the dynamic linker replaces") as caught:
        export.check_target(place, "thing")
    assert caught.value.advice
    env = {"REZ_BUILD_INSTALL_PATH": str(place), "REZ_BUILD_TYPE": "local"}
    with pytest.raises(UsageError, match="the dynamic linker replaces"):
        build_command.Request.read(env, Settings(tmp_path))


def test_payload_is_relocated_in_any_folder(odd_folder: Path, compile_c: Any) -> None:
    compile_c.folder = odd_folder
    chain = Chain(compile_c, odd_folder)
    chain.relocate()
    assert run(chain.move(odd_folder / "moved")) == "42"


def test_odd_names_inside_a_payload_are_listed_and_read(odd_folder: Path) -> None:
    (odd_folder / odd_folder.name).mkdir()
    (odd_folder / odd_folder.name / "file").write_text("x")
    (odd_folder / "link").symlink_to(odd_folder.name)
    manifest.write(odd_folder, {"elf": []})
    manifest.write_contents(odd_folder)
    assert audit.audit(odd_folder).findings == ()
    (odd_folder / odd_folder.name / "file").unlink()
    (finding,) = audit.audit(odd_folder).findings
    assert (finding.rule.id, finding.path) == ("file-missing", f"{odd_folder.name}/file")


def test_mirror_and_cache_work_in_any_folder(odd_folder: Path) -> None:
    (odd_folder / "mirror").mkdir()
    (odd_folder / "mirror" / FILE).write_bytes(BODY)
    found = Settings.read(
        {
            "REZBUILD_CACHE": str(odd_folder / "cache"),
            "REZBUILD_MIRRORS": shlex.join([str(odd_folder / "mirror")]),
            "REZBUILD_OFFLINE": "1",
        }
    )
    got = Fetcher(found, Console(quiet=True)).fetch(release())
    assert got.path.read_bytes() == BODY
    assert got.location == str(odd_folder / "mirror")


def test_sources_are_unpacked_in_any_folder(odd_folder: Path) -> None:
    (odd_folder / "pkg").mkdir()
    (odd_folder / "pkg" / "file").write_text("x")
    subprocess.run(["tar", "-czf", "a.tar.gz", "pkg"], cwd=odd_folder, check=True)
    root = unpack(odd_folder / "a.tar.gz", odd_folder / "out" / odd_folder.name)
    assert (root / "file").read_text() == "x"


# Damaged ELF files


@examples
@given(damage=DAMAGE)
def test_any_damage_is_read_or_refused(
    small_elf: bytes, tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, bytes]]
) -> None:
    payload = tmp_path_factory.mktemp("damaged")
    path = payload / "lib.so"
    path.write_bytes(reader.MAGIC + apply_damage(small_elf, damage)[4:])
    for call, argument in (
        (symbols.exported, path),
        (symbols.versioned, path),
        (reader.read, path),
        (lambda root: relocate.plan(root, []), payload),
    ):
        refused = refusal(call, argument)
        if refused:
            assert str(path) in refused.message or "lib.so" in str(refused)
            assert refused.exit_code == 8
            assert refused.advice


def test_command_line_names_a_damaged_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], small_elf: bytes
) -> None:
    (tmp_path / "lib.so").write_bytes(small_elf[:200])
    assert main.main(["audit", str(tmp_path)]) == 9
    told = capsys.readouterr()
    assert "error: elf-damaged: lib.so: cannot read" in told.out
    assert told.err == ""


def test_circular_libraries_are_relocated(tmp_path: Path, compile_c: Any) -> None:
    payload = tmp_path / "payload"
    rpath = "-Wl,--disable-new-dtags,-rpath,$ORIGIN"
    first = compile_c.library("payload/lib/libone.so.1")
    second = compile_c.library("payload/lib/libtwo.so.1", rpath, "-Wl,--no-as-needed", str(first))
    compile_c.library("payload/lib/libone.so.1", rpath, "-Wl,--no-as-needed", str(second))
    assert audit.audit(payload).errors == ()
    relocate.plan(payload, [])


def test_circular_links_are_reported(tmp_path: Path) -> None:
    payload = tmp_path / "payload"
    payload.mkdir()
    for name, target in {"a": "b", "b": "a", "up": ".", "lib": "up/up/up/lib"}.items():
        (payload / name).symlink_to(target)
    found = {(finding.rule.id, finding.path) for finding in audit.audit(payload).findings}
    assert found == {("link-dangling", name) for name in ("a", "b", "lib")}


# Records

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=5,
)


@examples
@given(record=st.dictionaries(st.sampled_from(["elf", "glibc", "x"]), JSON), listed=JSON)
def test_any_record_of_a_payload_gives_a_report(
    tmp_path_factory: pytest.TempPathFactory, record: Any, listed: Any
) -> None:
    payload = tmp_path_factory.mktemp("record")
    (payload / manifest.MANIFEST).write_text(json.dumps(record))
    (payload / manifest.CONTENTS).write_text(json.dumps(listed))
    report = audit.audit(payload)
    assert report.own
    json.dumps(show.as_data(payload, report))


# Many files


def test_many_files_take_linear_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Thousands of files; a million with REZBUILD_TEST_EXAMPLES=500."""
    count = 2000 * FACTOR
    payload = tmp_path / "payload"
    for number in range(0, count, 1000):
        folder = payload / str(number)
        folder.mkdir(parents=True)
        for inner in range(1000):
            (folder / f"{inner}.txt").write_bytes(b"")
    manifest.write(payload, {"elf": []})
    manifest.write_contents(payload)
    begin = time.monotonic()
    assert audit.audit(payload).findings == ()
    assert time.monotonic() - begin < count / 200
    # Many files are wrong or missing, but the output stays short.
    gone = {f"gone/{number}": 1 for number in range(count)}
    (payload / manifest.CONTENTS).write_text(json.dumps(gone))
    begin = time.monotonic()
    assert main.main(["audit", str(payload)]) == 9
    assert time.monotonic() - begin < count / 100
    said = capsys.readouterr().out
    assert f"{count} files: it was added after the build" in said
    assert f"{count} files: it was built, and is missing" in said
    assert len(said.splitlines()) < 20


def test_folders_deeper_than_the_recursion_limit_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before 3.12, os.walk() is recursive."""
    depth = 1000
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(depth):
            os.mkdir("d", dir_fd=here)
            here, above = os.open("d", os.O_RDONLY, dir_fd=here), here
            os.close(above)
        os.close(here)
        assert main.main(["audit", str(tmp_path)]) in (0, 2)
        said = capsys.readouterr().err
        assert "defect" not in said
        assert said == "" or "too deep" in said
    finally:  # pytest's own way to remove it calls itself as well
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)
