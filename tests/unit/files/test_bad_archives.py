"""Archives with hostile names, links and headers."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from archives import Archive, folder, hard_link, member, symlink
from fuzz import FACTOR, examples
from hypothesis import given
from hypothesis import strategies as st

from rezbuild.errors import UnpackError
from rezbuild.files.unpack import unpack
from rezbuild.util.terminal import printable

ODD = ["a b", "q'\"", "n\nl", "$ORIGIN", "gr\u00fcn", "l\udce4tin", "\x1b[2J", "-rf", "*?", "a:b"]
NAMES = st.lists(
    st.sampled_from(["a", "b", "..", ".", "", "c d", "\udcff", "$ORIGIN"]), min_size=1, max_size=4
).map("/".join)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name", ODD)
def test_odd_names_are_kept_byte_by_byte(archive: Archive, name: str, form: int) -> None:
    options = {"format": form, "encoding": "utf-8", "errors": "surrogateescape"}
    root = archive.unpack((f"pkg/{name}/file", b"text"), symlink("pkg/link", name), **options)
    assert sorted(map(os.fsencode, os.listdir(root))) == sorted([os.fsencode(name), b"link"])
    assert (root / "link" / "file").read_bytes() == b"text"


def test_refusal_of_an_odd_name_is_printable(archive: Archive) -> None:
    message = archive.refusal(member("pkg/l\udce4\x1b[2J", type=tarfile.FIFOTYPE))
    printable(message).encode()
    assert "\x1b" not in printable(message)


MEMBERS = st.one_of(
    st.tuples(NAMES, st.binary(max_size=9)),
    st.builds(folder, NAMES),
    st.builds(symlink, NAMES, NAMES),
    st.builds(hard_link, NAMES, NAMES),
    st.builds(lambda n: member(n, type=tarfile.CHRTYPE), NAMES),
)


@examples
@given(members=st.lists(MEMBERS, max_size=6), form=st.sampled_from([tarfile.GNU_FORMAT]))
def test_no_sequence_of_members_reaches_outside(
    tmp_path_factory: pytest.TempPathFactory, members: list[Any], form: int
) -> None:
    """Either all members are plain files and links inside, or nothing is unpacked."""
    top = tmp_path_factory.mktemp("any")
    (top / "precious").write_text("mine")
    made = Archive(top)
    path = made.make(*members, format=form, errors="surrogateescape", encoding="utf-8")
    before = sorted(top.rglob("*"))
    try:
        unpack(path, made.place)
    except UnpackError:
        assert sorted(top.rglob("*")) == before
    root = os.path.realpath(made.place)
    for inner in made.place.rglob("*"):
        real = os.path.realpath(inner)
        assert real == root or real.startswith(root + "/")
        assert stat.S_IFMT(inner.lstat().st_mode) in (stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK)
    assert (top / "precious").read_text() == "mine"
    assert (top / "precious").stat().st_nlink == 1


PAX_KEYS = st.sampled_from(
    [
        *("path", "linkpath", "size", "mtime", "uid", "gid", "uname", "hdrcharset", "charset"),
        *("GNU.sparse.major", "GNU.sparse.minor", "GNU.sparse.name", "GNU.sparse.realsize"),
        *("GNU.sparse.map", "GNU.sparse.size", "GNU.sparse.numblocks", "comment"),
    ]
)
PAX_VALUES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["BINARY", "../x", "/etc/x", "0,1,2", "1", "0", "9" * 5000, "1e400", "nan"]),
)


@examples
@given(headers=st.dictionaries(PAX_KEYS, PAX_VALUES, max_size=4), data=st.binary(max_size=600))
def test_any_extended_header_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, headers: dict[str, str], data: bytes
) -> None:
    made = Archive(tmp_path_factory.mktemp("pax"))
    info = member("pkg/file")
    info.pax_headers = headers
    path = made.make((("pkg/one"), b"x"), mode="w:")
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    begin = time.monotonic()
    try:
        unpack(path, made.place, max_bytes=1 << 20)
    except UnpackError:
        assert not os.path.lexists(made.place)
    assert time.monotonic() - begin < 3
    assert sorted(os.listdir(made.tmp_path)) == ["archive.tar.", "place"]


@examples
@given(
    flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6),
    mode=st.sampled_from(["w:", "w:gz", "w:bz2", "w:xz"]),
)
def test_any_damage_is_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]], mode: str
) -> None:
    made = Archive(tmp_path_factory.mktemp("flipped"))
    path = made.make(("pkg/one", b"x" * 600), symlink("pkg/l", "one"), folder("pkg/d"), mode=mode)
    data = bytearray(path.read_bytes())
    for position, value in flips:
        data[position % min(len(data), 3072)] = value
    path.write_bytes(data)
    try:
        unpack(path, made.place)
    except UnpackError:
        assert os.listdir(made.place.parent) == []
    assert sorted(os.listdir(made.tmp_path)) == [path.name, "place"]


def test_too_long_name_is_refused(archive: Archive) -> None:
    assert "File name too long" in archive.refusal((f"pkg/{'x' * 300}", b""))


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_archive_bomb_stops_at_the_limit(archive: Archive, mode: str) -> None:
    """Some kilobytes unpack to thirty megabytes of zeros."""
    path = archive.tmp_path / f"bomb.tar.{mode[2:]}"
    info = member("pkg/zeros", size=30 << 20)
    with tarfile.open(path, mode) as tar, open("/dev/zero", "rb") as zeros:
        tar.addfile(info, zeros)
    assert path.stat().st_size < 1 << 20
    begin = time.monotonic()
    assert "holds more than 1048576 bytes" in archive.refusal_of_file(path, max_bytes=1 << 20)
    assert time.monotonic() - begin < 1


def test_too_many_members_of_any_kind_are_refused(archive: Archive) -> None:
    """Thousands of members; millions with REZBUILD_TEST_EXAMPLES=1000."""
    path = archive.tmp_path / "many.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for number in range(2000 * FACTOR):
            tar.addfile(member(f"pkg/{number}"))
    assert f"more than {1000 * FACTOR} members" in archive.refusal_of_file(
        path, max_members=1000 * FACTOR
    )
