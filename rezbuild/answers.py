"""What configure found and wrote, kept for builds in which it would find and write the same.

A configure script asks the compiler hundreds of small questions, and where all else comes from
ccache that is most of a build. Here its step is taken as a whole: what it reads (the folder of the
build, its arguments and environment, the dependencies, what there is of the host) names an archive
of what it left. Only who asked for ccache gets this, and no payload differs for it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rezbuild import unpack
from rezbuild.errors import RezbuildError

# In the cache.
FOLDER = "configure"
# What stands for folders of one build, in what is kept.
_MARK = "@rezbuild-place-"
# A path goes on with these: /work is no part of /workshop.
_LONGER = rb"(?![\w.+@~-])"
_PLAIN = re.compile(r"[A-Za-z0-9_./+@~-]+")
# They differ from build to build, and no configure answers by them.
_UNHEARD = ("CCACHE_", "MAKEFLAGS", "TRAINING_JOBS")


@dataclass(frozen=True)
class Places:
    """Folders that another build has elsewhere, each with a name.

    Args:
        folders: Absolute paths by name; in what is kept the names stand for them.
    """

    folders: Mapping[str, Path]

    @property
    def plain(self) -> bool:
        """Whether all are spelled the same in a shell, a Makefile and a file."""
        return all(_PLAIN.fullmatch(str(path)) for path in self.folders.values())

    def out(self, data: bytes) -> bytes:
        """Names in place of paths."""
        for path, name in self._longest():
            if path in data:
                data = re.sub(re.escape(path) + _LONGER, name, data)
        return data

    def into(self, data: bytes) -> bytes:
        """Paths in place of names."""
        if _MARK.encode() in data:
            for path, name in self._longest():
                data = data.replace(name, path)
        return data

    def left(self, data: bytes) -> bool:
        """Whether one of the paths is in what should have names only."""
        return any(path in data for path, _ in self._longest())

    def _longest(self) -> list[tuple[bytes, bytes]]:
        """Paths and names, longest paths first: folders stand in one another."""
        found: dict[bytes, bytes] = {}
        for name, path in self.folders.items():
            found.setdefault(os.fsencode(path), f"{_MARK}{name}@".encode())
        return sorted(found.items(), key=lambda item: -len(item[0]))


@dataclass(frozen=True)
class Asked:
    """One run of configure: what it would read, and where what it leaves is kept.

    Attributes:
        archive: In the cache; it may not be there.
        work: The folder of the build, with the source in it.
        before: What was in that folder: signatures by name.
    """

    archive: Path
    work: Path
    places: Places
    before: Mapping[str, tuple[int, ...]]

    def answer(self) -> str | None:
        """Puts what an earlier run has left into the folder of the build.

        Returns:
            What that run has printed; or None: there was none, or its archive was damaged, and is
            gone.
        """
        if not self.archive.is_file():
            return None
        with tempfile.TemporaryDirectory(prefix=".answers-", dir=self.work) as folder:
            kept = Path(folder, "kept")
            try:
                unpack.unpack(self.archive, kept)
                said = self.places.into((kept / "log").read_bytes())
            except (RezbuildError, OSError) as error:
                why = error.message if isinstance(error, RezbuildError) else str(error)
                print(f"  notice: what an earlier configure left cannot be used: {why}")
                self.archive.unlink(missing_ok=True)
                return None
            self._put(kept / "tree")
        return said.decode("utf-8", "replace")

    def _put(self, tree: Path) -> None:
        put = []
        for path in sorted(tree.rglob("*")):
            target = self.work / path.relative_to(tree)
            if path.is_dir() and not path.is_symlink():
                target.mkdir(exist_ok=True)
                continue
            target.unlink(missing_ok=True)
            if path.is_symlink():
                target.symlink_to(os.readlink(path))
                continue
            target.write_bytes(self.places.into(path.read_bytes()))
            target.chmod(stat.S_IMODE(path.stat().st_mode))
            put.append(target)
        # Equal times: make takes none of them for older than another.
        now = max((path.stat().st_mtime_ns for path in put), default=0)
        for path in put:
            os.utime(path, ns=(now, now))

    def keep(self, log: Path) -> None:
        """Keeps what a run has left, unless that would not be the same elsewhere.

        Args:
            log: What it has printed.
        """
        after = _signatures(self.work)
        changed = sorted(name for name in after if after[name] != self.before.get(name))
        if self.before.keys() - after.keys():
            return
        try:
            found = [(f"tree/{name}", *self._member(self.work / name)) for name in changed]
            _write(self.archive, [("log", self._plain(log), False), *found])
        except _OfThisBuildError:
            return
        except OSError as error:
            print(f"  notice: what configure left is not kept: {error}")

    def _member(self, path: Path) -> tuple[bytes | str | None, bool]:
        """Content or link's target or None, and whether it is a program."""
        if path.is_symlink():
            target = os.readlink(path)
            if target.startswith("/"):
                raise _OfThisBuildError
            return target, False
        if path.is_dir():
            return None, True
        return self._plain(path), bool(path.stat().st_mode & stat.S_IXUSR)

    def _plain(self, path: Path) -> bytes:
        data = path.read_bytes()
        found = self.places.out(data)
        # In a compiled file a path cannot be made longer.
        if _MARK.encode() in data or self.places.left(found) or (found != data and b"\0" in data):
            raise _OfThisBuildError
        return found


class _OfThisBuildError(Exception):
    """What a run has left holds something of this build alone."""


@dataclass(frozen=True)
class Answers:
    """The archives in a cache, as one build finds and makes them.

    Attributes:
        folder: Where they are.
        name: What is built, with its version.
        work: The folder of the build, with the source in it.
        home: The build's HOME.
        dependencies: The roots of what it is built against, by name.
        facts: What else a run depends on, such as the compilers.
    """

    folder: Path
    name: str
    work: Path
    home: Path
    dependencies: Mapping[str, Path]
    facts: Sequence[str]

    def ask(self, argv: Sequence[str], env: Mapping[str, str], folder: str) -> Asked | None:
        """What a run of configure would read now.

        Args:
            argv: Its words.
            env: Its environment.
            folder: Where it runs, below the source.

        Returns:
            None: nothing can be kept here, nor found.
        """
        places = self._places()
        records = [root / "rezbuild.json" for root in self.dependencies.values()]
        if not places.plain or not all(record.is_file() for record in records):
            return None
        before = _signatures(self.work)
        total = hashlib.sha256()
        heard = {name: value for name, value in env.items() if not name.startswith(_UNHEARD)}
        told = [self.facts, list(argv), folder, sorted(heard.items()), sorted(self.dependencies)]
        total.update(places.out(json.dumps(told).encode()))
        for record in records:
            total.update(hashlib.sha256(record.read_bytes()).digest())
        for name in sorted(before):
            total.update(json.dumps(name).encode() + _content(self.work / name, places))
        archive = self.folder / f"{self.name}-{total.hexdigest()}.tar.gz"
        return Asked(archive, self.work, places, before)

    def _places(self) -> Places:
        folders = {"work": self.work, "home": self.home}
        folders |= {f"need-{name}": root for name, root in self.dependencies.items()}
        # A shell's pwd says where links lead.
        real = {f"real-{name}": path.resolve() for name, path in folders.items()}
        return Places({**folders, **real})


def _signatures(root: Path) -> dict[str, tuple[int, ...]]:
    """All below a folder by name; a file that is written has another signature afterwards."""
    found: dict[str, tuple[int, ...]] = {}
    for folder, folders, names in os.walk(root):
        below = os.path.relpath(folder, root)
        for name in (*folders, *names):
            status = os.lstat(os.path.join(folder, name))
            what = (status.st_ino, status.st_size, status.st_ctime_ns)
            kind = stat.S_IFMT(status.st_mode)
            # Of a folder, that it is there.
            found[os.path.normpath(os.path.join(below, name))] = (
                (kind,) if stat.S_ISDIR(status.st_mode) else (kind, *what)
            )
    return found


def _content(path: Path, places: Places) -> bytes:
    if path.is_symlink():
        data = b"link" + places.out(os.fsencode(os.readlink(path)))
    elif path.is_dir():
        data = b"folder"
    else:
        data = b"%o" % (path.stat().st_mode & stat.S_IXUSR) + places.out(path.read_bytes())
    return hashlib.sha256(data).digest()


def _write(archive: Path, members: Iterable[tuple[str, bytes | str | None, bool]]) -> None:
    """Writes names with contents, or links' targets, or None for folders; whole or not at all."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=archive.parent) as folder:
        part = Path(folder, archive.name)
        with tarfile.open(part, "w:gz", compresslevel=6) as tar:
            for name, data, program in members:
                info = tarfile.TarInfo(name)
                info.mode = 0o755 if program else 0o644
                if data is None:
                    info.type = tarfile.DIRTYPE
                elif isinstance(data, str):
                    info.type, info.linkname = tarfile.SYMTYPE, data
                else:
                    info.size = len(data)
                tar.addfile(info, io.BytesIO(data) if isinstance(data, bytes) else None)
        part.chmod(0o644)
        part.replace(archive)
