"""Good and hostile archives, made by the tests."""

from __future__ import annotations

import gzip
import io
import os
import random
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from archives import THEN, Archive, folder, hard_link, member, symlink

from rezbuild.errors import UnpackError
from rezbuild.files.unpack import unpack


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path)


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mode", ["w:", "w:gz", "w:bz2", "w:xz"])
def test_each_compression_is_unpacked(archive: Archive, mode: str) -> None:
    root = archive.unpack(("pkg-1.0/file", b"text"), mode=mode)
    assert root == archive.place / "pkg-1.0"
    assert (root / "file").read_bytes() == b"text"


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_each_header_format_is_unpacked(archive: Archive, form: int) -> None:
    root = archive.unpack(folder("pkg"), ("pkg/file", b"text"), format=form)
    assert (root / "file").read_bytes() == b"text"


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_are_unpacked(archive: Archive, form: int) -> None:
    name = "/".join(["pkg", *["long" * 20] * 4, "grün"])
    link = "/".join(["pkg", *["link" * 20] * 4])
    root = archive.unpack(
        (name, b"text"), hard_link(link, name), format=form, pax_headers={"comment": "global"}
    )
    assert (root.parent / name).read_bytes() == b"text"
    assert (root.parent / link).read_bytes() == b"text"


def test_tar_archive_that_starts_like_a_zip_is_unpacked(archive: Archive) -> None:
    assert archive.unpack(("PKG-INFO", b"text"), mode="w:") == archive.place


def test_several_entries_at_the_top_have_no_common_root(archive: Archive) -> None:
    assert archive.unpack(("pkg/file", b""), ("README", b"")) == archive.place


def test_single_file_at_the_top_is_no_source_root(archive: Archive) -> None:
    assert archive.unpack(("README", b"")) == archive.place


def test_symlink_at_the_top_is_no_source_root(archive: Archive) -> None:
    assert archive.unpack(symlink("link", ".")) == archive.place


def test_names_that_start_with_a_dot_are_unpacked(archive: Archive) -> None:
    root = archive.unpack(folder("."), folder("./pkg/"), ("./pkg//a/./file", b"text"))
    assert root == archive.place / "pkg"
    assert (root / "a" / "file").read_bytes() == b"text"


@pytest.mark.usefixtures("umask")
def test_modes_are_kept_without_the_umask(archive: Archive) -> None:
    info = {"plain": 0o600, "group": 0o660, "program": 0o700, "all": 0o777, "none": 0}
    members = [member(f"pkg/sub/{name}", mode=mode) for name, mode in info.items()]
    root = archive.unpack(folder("pkg/sub2"), *members)
    found = {path.name: mode_of(path) for path in (root / "sub").iterdir()}
    assert found == {
        "plain": 0o644,
        "group": 0o644,
        "program": 0o755,
        "all": 0o755,
        "none": 0o644,
    }
    folders = [archive.place, root, root / "sub", root / "sub2"]
    assert [mode_of(path) for path in folders] == [0o755] * 4


def test_closed_folder_is_opened(archive: Archive) -> None:
    closed = folder("pkg")
    closed.mode = 0
    root = archive.unpack(closed, ("pkg/file", b""))
    assert mode_of(root) == 0o755


def test_owners_are_not_kept(archive: Archive) -> None:
    root = archive.unpack(member("pkg/file", uid=12345, gid=12345, uname="daemon"))
    assert (root / "file").stat().st_uid == os.getuid()


def test_times_are_kept(archive: Archive) -> None:
    root = archive.unpack(
        folder("pkg", mtime=THEN + 1),
        folder("pkg/sub", mtime=THEN + 2),
        member("pkg/sub/configure.ac", mtime=THEN + 3),
        member("pkg/sub/configure", mtime=THEN + 4),
        member("pkg/old", mtime=0),
    )
    times = {
        str(path.relative_to(archive.place)): path.stat().st_mtime_ns - THEN * 10**9
        for path in [root, *root.rglob("*")]
    }
    assert times == {
        "pkg": 1 * 10**9,
        "pkg/sub": 2 * 10**9,
        "pkg/sub/configure.ac": 3 * 10**9,
        "pkg/sub/configure": 4 * 10**9,
        "pkg/old": -THEN * 10**9,
    }


def test_fractions_of_seconds_keep_their_order(archive: Archive) -> None:
    parts = [0.25, 0.5, 0.75]
    members = [member(f"pkg/{part}", mtime=THEN + part) for part in parts]
    root = archive.unpack(*members, format=tarfile.PAX_FORMAT)
    assert [(root / str(part)).stat().st_mtime for part in parts] == [THEN + p for p in parts]


def test_symlinks_inside_are_kept(archive: Archive) -> None:
    root = archive.unpack(
        ("pkg/lib/file", b"text"),
        symlink("pkg/lib/near", "file"),
        symlink("pkg/bin/far", "../lib/file"),
        symlink("pkg/lib64", "lib"),
        symlink("pkg/dangling", "missing"),
        symlink("pkg/itself", "itself"),
        symlink("pkg/top", "../pkg"),
    )
    assert (root / "lib" / "near").read_bytes() == b"text"
    assert (root / "bin" / "far").read_bytes() == b"text"
    assert (root / "lib64" / "file").read_bytes() == b"text"
    assert (root / "dangling").readlink() == Path("missing")
    assert (root / "bin" / "far").readlink() == Path("../lib/file")
    assert os.lstat(root / "dangling").st_mtime == THEN


def test_hard_links_inside_are_kept(archive: Archive) -> None:
    root = archive.unpack(("pkg/one", b"text"), hard_link("pkg/sub/two", "./pkg/one"))
    assert (root / "one").samefile(root / "sub" / "two")


def test_folder_may_be_named_twice(archive: Archive) -> None:
    root = archive.unpack(("pkg/file", b""), folder("pkg", mtime=1), folder("pkg", mtime=THEN))
    assert root.stat().st_mtime == THEN


def test_empty_target_folder_is_used(archive: Archive) -> None:
    archive.place.mkdir()
    assert (archive.unpack(("pkg/file", b"text")) / "file").exists()


def test_missing_parents_are_created(archive: Archive) -> None:
    path = archive.make(("pkg/file", b"text"))
    root = unpack(path, archive.place / "a" / "b")
    assert root == archive.place / "a" / "b" / "pkg"


def test_no_temporary_file_is_left(archive: Archive) -> None:
    archive.unpack(("pkg/file", b"text"))
    assert os.listdir(archive.place.parent) == ["here"]


def test_large_file_is_unpacked_completely(archive: Archive) -> None:
    data = random.Random(1).randbytes(3 << 20)
    assert (archive.unpack(("pkg/file", data)) / "file").read_bytes() == data


def test_full_target_folder_is_refused(archive: Archive) -> None:
    archive.place.mkdir()
    (archive.place / "mine").write_text("precious")
    path = archive.make(("pkg/file", b"text"))
    with pytest.raises(UnpackError, match="not an empty folder"):
        unpack(path, archive.place)
    assert os.listdir(archive.place) == ["mine"]


@pytest.mark.parametrize("make", [lambda p: p.touch(), lambda p: p.symlink_to("nowhere")])
def test_target_that_is_no_folder_is_refused(archive: Archive, make: Any) -> None:
    make(archive.place)
    with pytest.raises(UnpackError, match="not an empty folder"):
        archive.unpack(("pkg/file", b"text"))
    assert os.path.lexists(archive.place)


def test_missing_archive_is_refused(archive: Archive) -> None:
    assert "No such file" in archive.refusal_of_file(archive.tmp_path / "missing.tar.gz")


OUTSIDE = [
    (("/etc/passwd", b"x"), "absolute"),
    (("//etc/passwd", b"x"), "absolute"),
    (folder("/tmp"), "absolute"),
    (("../out", b"x"), "has a .."),
    (("pkg/../../out", b"x"), "has a .."),
    (("pkg/..", b"x"), "has a .."),
    (folder("pkg/../.."), "has a .."),
    (symlink("pkg/link", "/etc/passwd"), "symlink to '/etc/passwd'"),
    (symlink("pkg/link", "../../out"), "leaves the folder"),
    (symlink("pkg/link", ".." + "/x/.." * 3 + "/.."), "leaves the folder"),
    (symlink("link", ".."), "leaves the folder"),
    (symlink("pkg/link", ""), "symlink to ''"),
    (hard_link("pkg/link", "/etc/passwd"), "hard link to '/etc/passwd'"),
    (hard_link("pkg/link", "../out"), "hard link to '../out'"),
    (hard_link("pkg/link", "pkg/missing"), "hard link to 'pkg/missing'"),
    (hard_link("pkg/link", "pkg"), "hard link to 'pkg'"),
    (hard_link("pkg/link", "pkg/link"), "hard link to 'pkg/link'"),
    (member("pkg/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3), "device"),
    (member("pkg/disk", type=tarfile.BLKTYPE, devmajor=8), "device"),
    (member("pkg/pipe", type=tarfile.FIFOTYPE), "fifo"),
    (member("pkg/odd", type=b"Q"), "unknown type"),
    (member("pkg/tool", mode=0o4755), "setuid"),
    (member("pkg/tool", mode=0o2755), "setgid"),
    (member("pkg/tool", mode=0o1755), "sticky"),
    (member("pkg/sub", type=tarfile.DIRTYPE, mode=0o1777), "sticky"),
    (member(".", mode=0o644), "taken"),
    (symlink(".", "pkg"), "taken"),
]


@pytest.mark.parametrize(("bad", "reason"), OUTSIDE)
def test_bad_member_is_refused_by_name(archive: Archive, bad: Any, reason: str) -> None:
    message = archive.refusal(("pkg/file", b"good"), bad, ("pkg/later", b"good"))
    name = bad[0] if isinstance(bad, tuple) else bad.name
    assert repr(name) in message
    assert reason in message


SEQUENCES: dict[str, Any] = {
    "through a symlink": ([folder("a"), symlink("b", "a"), ("b/x", b"")], "through 'b'"),
    "through a dangling symlink": ([symlink("b", "a"), ("b/x", b"")], "through 'b'"),
    "deep through a symlink": ([symlink("b", "."), ("b/c/d/x", b"")], "through 'b'"),
    "folder through a symlink": ([symlink("b", "a"), folder("b/x")], "through 'b'"),
    "link through a symlink": ([symlink("b", "a"), symlink("b/x", "y")], "through 'b'"),
    "through a file": ([("b", b""), ("b/x", b"")], "through 'b'"),
    "link, then file": ([symlink("b", "a"), ("b", b"x")], "taken"),
    "link, then folder": ([folder("a"), symlink("b", "a"), folder("b")], "taken"),
    "link, then link": ([symlink("b", "a"), symlink("b", "c")], "taken"),
    "file, then link": ([("b", b"x"), symlink("b", "c")], "taken"),
    "file, then file": ([("b", b"x"), ("./b", b"y")], "taken"),
    "file, then folder": ([("b", b"x"), folder("b")], "taken"),
    "folder, then file": ([folder("b"), ("b", b"x")], "taken"),
    "hard link, then file": ([("a", b"x"), hard_link("b", "a"), ("b", b"y")], "taken"),
    "hard link to a symlink": ([symlink("a", "b"), hard_link("c", "a")], "hard link to 'a'"),
    "hard link to a later file": ([hard_link("b", "a"), ("a", b"")], "hard link to 'a'"),
    "out over another link": (
        [folder("d"), symlink("d/up", ".."), symlink("out", "d/up/..")],
        "'out' is a symlink that leaves",
    ),
    "out over a later link": (
        [folder("d"), symlink("out", "d/up/.."), symlink("d/up", "..")],
        "'out' is a symlink that leaves",
    ),
}


@pytest.mark.parametrize("case", SEQUENCES)
def test_bad_combination_of_members_is_refused(archive: Archive, case: str) -> None:
    members, reason = SEQUENCES[case]
    assert reason in archive.refusal(*members)


@pytest.mark.parametrize("mtime", ["nan", "inf", "1e300"])
def test_invalid_times_are_refused(archive: Archive, mtime: str) -> None:
    info = member("pkg/file")
    info.pax_headers = {"mtime": mtime}
    assert "damaged" in archive.refusal(info)


def test_too_many_bytes_are_refused(archive: Archive) -> None:
    assert "more than 50000 bytes" in archive.refusal(("pkg/file", bytes(10**6)), max_bytes=50000)


def test_too_many_bytes_in_small_files_are_refused(archive: Archive) -> None:
    members = [(f"pkg/{number}", bytes(1000)) for number in range(100)]
    assert "more than 50000 bytes" in archive.refusal(*members, max_bytes=50000)


def test_too_many_members_are_refused(archive: Archive) -> None:
    members = [(f"pkg/{number}", b"") for number in range(11)]
    assert "more than 10 members" in archive.refusal(*members, max_members=10)
    unpack(archive.make(*members), archive.place, max_members=11)


def test_holes_count_as_bytes(archive: Archive) -> None:
    """A sparse file of a terabyte has no size in an archive (GNU tar, sparse 1.0)."""
    info = member("pkg/file")
    info.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "pkg/holes",
        "GNU.sparse.realsize": str(10**12),
    }
    assert "bytes" in archive.refusal((("pkg/first"), b""), info)
    path = archive.tmp_path / "sparse.tar"
    data = b"0\n".ljust(512, b"\0")
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    assert "more than" in archive.refusal_of_file(path)


def test_header_that_claims_gigabytes_is_refused(archive: Archive) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**33
    path = archive.tmp_path / "long.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10240))
    assert "claims to be" in archive.refusal_of_file(path)


@pytest.mark.parametrize("size", [-512, -1, -(2**40)])
def test_negative_sizes_are_refused(archive: Archive, size: int) -> None:
    """tarfile looped endlessly on them (CVE-2025-8194)."""
    info = member("pkg/file")
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = (size & (2**96 - 1)).to_bytes(12, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path = archive.tmp_path / "negative.tar"
    path.write_bytes(header + bytes(1024))
    archive.refusal_of_file(path)


def test_zip_is_refused_by_name(archive: Archive) -> None:
    path = archive.tmp_path / "archive.tar.gz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("pkg/file", "text")
    assert "zip" in archive.refusal_of_file(path)


@pytest.mark.parametrize(
    "data",
    [b"", b"no archive\n" * 200, bytes(10240), gzip.compress(b"no tar"), b"\x1f\x8b", b"BZh9"],
    ids=["empty", "text", "zeros", "gzip", "gzip magic", "bzip2 magic"],
)
def test_unknown_formats_are_refused(archive: Archive, data: bytes) -> None:
    path = archive.tmp_path / "archive.tar.gz"
    path.write_bytes(data)
    archive.refusal_of_file(path)


@pytest.mark.parametrize("mode", ["w:", "w:gz", "w:bz2", "w:xz"])
def test_archive_truncated_anywhere_is_refused(archive: Archive, mode: str) -> None:
    noise = random.Random(2).randbytes(700)
    members = [(f"pkg/{number}", noise) for number in range(3)]
    path = archive.make(*members, mode=mode)
    data = path.read_bytes()
    # An uncompressed archive ends with at least one block of zeros.
    length = len(data.rstrip(b"\0")) if mode == "w:" else len(data)
    for end in range(0, length, 97):
        path.write_bytes(data[:end])
        archive.refusal_of_file(path)


def test_archive_truncated_between_members_is_refused(archive: Archive) -> None:
    path = archive.make(("pkg/one", b"x" * 512), ("pkg/two", b"y"), mode="w:")
    path.write_bytes(path.read_bytes()[:1024])
    assert "last block" in archive.refusal_of_file(path)


def test_damaged_header_is_refused(archive: Archive) -> None:
    path = archive.make(("pkg/one", b"x"), ("pkg/two", b"y"), mode="w:")
    data = bytearray(path.read_bytes())
    data[1024] ^= 1
    path.write_bytes(data)
    assert "damaged" in archive.refusal_of_file(path)


def test_checksum_of_the_compression_is_verified(archive: Archive) -> None:
    path = archive.make(("pkg/file", b"text"))
    data = bytearray(path.read_bytes())
    data[-8] ^= 1
    path.write_bytes(data)
    assert "damaged" in archive.refusal_of_file(path)


def test_flipped_bytes_are_refused_or_harmless(archive: Archive) -> None:
    chance = random.Random(3)
    path = archive.make(
        ("pkg/one", b"x" * 600), symlink("pkg/l", "one"), folder("pkg/d"), mode="w:"
    )
    data = path.read_bytes()
    for number in range(300):
        damaged = bytearray(data)
        damaged[chance.randrange(3072)] = chance.randrange(256)
        path.write_bytes(damaged)
        place = archive.tmp_path / str(number) / "here"
        try:
            unpack(path, place)
        except UnpackError:
            assert not os.listdir(place.parent)


def test_unpacking_gives_no_warnings(archive: Archive) -> None:
    """A new process treats each warning as an error."""
    path = archive.make(folder("pkg"), ("pkg/file", b"text"), symlink("pkg/link", "file"))
    code = "import sys, pathlib; from rezbuild.files.unpack import unpack\n"
    code += "unpack(*map(pathlib.Path, sys.argv[1:]))"
    command = [sys.executable, "-W", "error", "-X", "dev", "-c", code, path, archive.place]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
