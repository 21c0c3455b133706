"""Payloads packed into one file."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
import time
from pathlib import Path

import pytest
import zstandard
from archives import folder, hard_link, member, symlink
from fuzz import examples
from hypothesis import given
from hypothesis import strategies as st
from payloads import payload, tree

from rezbuild.errors import StoreError
from rezbuild.files.pack import digest, pack, unpack

NAMES = st.sampled_from(["a", "a b", "q'\"", "n\nl", "$ORIGIN", "l\udce4tin", "-rf", "..a", "a-b"])
MODES = st.sampled_from([0o644, 0o755, 0o555, 0o444, 0o600])
FILES = st.tuples(MODES, st.binary(max_size=2000))
TREES = st.dictionaries(
    NAMES,
    st.recursive(
        FILES | st.just("link"), lambda inner: st.dictionaries(NAMES, inner), max_leaves=9
    ),
    min_size=1,
)


def make_tree(path: Path, content: object) -> Path:
    """Make the tree that hypothesis describes."""
    if isinstance(content, dict):
        path.mkdir()
        for name, inner in content.items():
            make_tree(path / name, inner)
    elif content == "link":
        path.symlink_to("somewhere else")
    else:
        mode, data = content
        path.write_bytes(data)
        path.chmod(mode)
    return path


def pack_bytes(root: Path) -> bytes:
    stream = io.BytesIO()
    pack(root, stream)
    return stream.getvalue()


def unpack_bytes(data: bytes, target: Path, wanted: str) -> Path:
    unpack(io.BytesIO(data), target, wanted)
    return target


def refusal(data: bytes, target: Path, wanted: str) -> str:
    """Return the reason of a refusal, and assert that no file remains."""
    target.parent.mkdir(exist_ok=True)
    with pytest.raises(StoreError) as caught:
        unpack(io.BytesIO(data), target, wanted)
    assert list(target.parent.iterdir()) == []
    return caught.value.message


@examples
@given(TREES)
def test_pack_unpack_roundtrip(content: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = make_tree(Path(place, "root"), content)
        data, there = pack_bytes(root), Path(place, "there")
        unpack_bytes(data, there, digest(root))
        assert tree(there) == tree(root)
        # The same tree at another place and time has the same digest and bytes.
        assert digest(there) == digest(root)
        assert pack_bytes(there) == data


def test_unpacked_files_are_new_with_their_modes(tmp_path):
    root = payload(tmp_path / "root")
    (root / "lib/empty").chmod(0o555)
    began = time.time()
    there = unpack_bytes(pack_bytes(root), tmp_path / "there", digest(root))
    assert tree(there) == tree(root)
    # pip makes no wheels of files from before 1980.
    for path in (there, *there.rglob("*")):
        assert path.is_symlink() or path.stat().st_mtime >= began - 1


def test_digest_covers_names_kinds_modes_and_contents(tmp_path):
    root = payload(tmp_path / "root")
    before = digest(root)
    (root / "build.rxt").write_text("Rez's own")
    (root / "variant.json").write_text("Rez's own")
    os.utime(root / "bin/program", (1, 1))
    assert digest(root) == before
    copy = shutil.copytree(root, tmp_path / "copy", symlinks=True)
    assert digest(copy) == before
    changes = {
        "content": lambda top: (top / "bin/program").write_text("#!/bin/sh\necho 43\n"),
        "mode": lambda top: (top / "bin/program").chmod(0o644),
        "mode of a folder": lambda top: (top / "lib").chmod(0o700),
        "name": lambda top: (top / "bin/program").rename(top / "bin/programs"),
        "one more": lambda top: (top / "bin/more").touch(),
        "a folder more": lambda top: (top / "bin/more").mkdir(),
        "one less": lambda top: (top / "lib/nothing").unlink(),
        "a folder less": lambda top: (top / "lib/empty").rmdir(),
        "target": lambda top: (top / "bin/link").unlink() or (top / "bin/link").symlink_to("p"),
        "kind": lambda top: (
            (top / "bin/link").unlink() or shutil.copy(top / "bin/program", top / "bin/link")
        ),
        "Rez's name elsewhere": lambda top: (top / "bin/build.rxt").touch(),
    }
    found = {before}
    for number, change in enumerate(changes.values()):
        copy = shutil.copytree(root, tmp_path / f"copy{number}", symlinks=True)
        change(copy)
        found.add(digest(copy))
    assert len(found) == len(changes) + 1


def test_special_files_are_refused(tmp_path):
    root = payload(tmp_path / "root")
    os.mkfifo(root / "lib/pipe")
    for work in (digest, pack_bytes):
        with pytest.raises(StoreError, match="lib/pipe is neither a file nor a folder nor a link"):
            work(root)


@examples
@given(st.data())
def test_any_damage_is_refused(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = payload(Path(place, "root"))
        good, wanted = pack_bytes(root), digest(root)
        at = data.draw(st.integers(0, len(good) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "lose", "double"]))
        bad = {
            "flip": good[:at] + bytes([good[at] ^ data.draw(st.integers(1, 255))]) + good[at + 1 :],
            "cut": good[:at],
            "lose": good[:at] + good[at + 1 :],
            "double": good[: at + 1] + good[at:],
        }[kind]
        there = Path(place, "there")
        try:
            unpack_bytes(bad, there, wanted)
        except StoreError:
            assert sorted(os.listdir(place)) == ["root"]
        else:
            # A change without effect, e.g. a byte after the end.
            assert tree(there) == tree(root)


def test_another_payload_is_refused(tmp_path):
    one, two = payload(tmp_path / "one"), payload(tmp_path / "two", version="2.0")
    said = refusal(pack_bytes(two), tmp_path / "place/here", digest(one))
    assert digest(one) in said
    assert digest(two) in said


@pytest.mark.parametrize(
    ("hostile", "reason"),
    [
        ([member("../out")], "its name has a .."),
        ([member("/tmp/out")], "its name is absolute"),
        ([symlink("link", "../../out")], "leaves the folder"),
        ([symlink("link", "/etc/passwd")], "is not a relative path"),
        ([symlink("link", "."), member("link/x")], "which is no folder"),
        ([hard_link("passwd", "/etc/passwd")], "no earlier file of it"),
        ([member("null", type=tarfile.CHRTYPE)], "a device, a fifo"),
        ([member("suid", mode=0o4755)], "a setuid, setgid or sticky bit"),
        ([member("twice"), member("twice")], "taken by an earlier member"),
        ([folder("a"), member("a")], "taken by an earlier member"),
        ([], "it holds nothing"),
    ],
)
def test_hostile_archives_are_refused(tmp_path, hostile, reason):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for each in hostile:
            tar.addfile(each)
    data = zstandard.ZstdCompressor().compress(stream.getvalue())
    assert reason in refusal(data, tmp_path / "place/here", "0" * 64)
    assert sorted(os.listdir(tmp_path)) == ["place"]


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 4096, b"anything", zstandard.ZstdCompressor().compress(b"no archive")]
)
def test_other_files_are_refused(tmp_path, data):
    refusal(data, tmp_path / "place/here", "0" * 64)


def test_blob_that_needs_much_memory_is_refused(tmp_path):
    parameters = zstandard.ZstdCompressionParameters(window_log=30, compression_level=1)
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    with io.BytesIO() as stream:
        with compressor.stream_writer(stream, closefd=False) as writer:
            writer.write(bytes(1 << 20))
        data = stream.getvalue()
    assert "memory" in refusal(data, tmp_path / "place/here", "0" * 64)
