"""Good and hostile archives."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from rezbuild.errors import UnpackError
from rezbuild.files.unpack import unpack

THEN = 1_600_000_000


def member(name: str, **fields: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mtime = THEN
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def folder(name: str, **fields: Any) -> tarfile.TarInfo:
    return member(name, type=tarfile.DIRTYPE, mode=0o755, **fields)


def symlink(name: str, target: str) -> tarfile.TarInfo:
    return member(name, type=tarfile.SYMTYPE, linkname=target, mode=0o777)


def hard_link(name: str, target: str) -> tarfile.TarInfo:
    return member(name, type=tarfile.LNKTYPE, linkname=target)


class Archive:
    """A writer of `tmp_path/archive.tar.*`; the target folder is in a separate folder."""

    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path
        self.place = tmp_path / "place" / "here"
        self.place.parent.mkdir()

    def make(self, *members: tarfile.TarInfo | tuple[str, bytes], **options: Any) -> Path:
        mode = options.pop("mode", "w:gz")
        path = self.tmp_path / ("archive.tar" + mode[1:].replace(":", "."))
        with tarfile.open(path, mode, **options) as tar:
            for each in members:
                info, data = (member(each[0]), each[1]) if isinstance(each, tuple) else (each, b"")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return path

    def unpack(self, *members: tarfile.TarInfo | tuple[str, bytes], **options: Any) -> Path:
        return unpack(self.make(*members, **options), self.place)

    def refusal(self, *members: tarfile.TarInfo | tuple[str, bytes], **options: Any) -> str:
        return self.refusal_of_file(self.make(*members), **options)

    def refusal_of_file(self, path: Path, **options: Any) -> str:
        """Return the message of the refusal, and assert that no file remains."""
        before = sorted(self.tmp_path.rglob("*"))
        with pytest.raises(UnpackError) as caught:
            unpack(path, self.place, **options)
        assert sorted(self.tmp_path.rglob("*")) == before
        assert path.name in caught.value.message
        return caught.value.message
