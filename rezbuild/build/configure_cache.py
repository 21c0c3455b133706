"""What configure found and wrote, kept for builds in which it would find and write the same.

A configure script asks the compiler hundreds of small questions, and where all else comes from
ccache that is most of a build. Here its step is taken as a whole: what it reads (the folder of the
build, its arguments and environment, the dependencies, what there is of the host) names an archive
of what it left. Only who asked for ccache gets this, and no payload differs for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import stat
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rezbuild.build.path_marks import Marks
from rezbuild.errors import BuildError, RezbuildError, UnpackError
from rezbuild.files import unpack
from rezbuild.reporter import Reporter

# In the cache.
FOLDER = "configure"
# Of what is kept; with another one nothing that was kept before is found.
_FORMAT = 2
# They differ from build to build, and no configure answers by them.
_UNHEARD = ("CCACHE_", "MAKEFLAGS", "TRAINING_JOBS")
# Days after which an archive that nothing asked for goes.
_UNUSED = 60


@dataclass(frozen=True)
class Asked:
    """One run of configure: what it would read, and where what it leaves is kept.

    Attributes:
        archive: In the cache; it may not be there.
        work: The folder of the build, with the source in it.
        before: What was in that folder: signatures by name.
        unchanged: Whether the host is what it was.
    """

    archive: Path
    work: Path
    marks: Marks
    before: Mapping[str, tuple[int, ...]]
    unchanged: Callable[[], bool]

    def answer(self) -> str | None:
        """Puts what an earlier run has left into the folder of the build.

        Returns:
            What that run has printed; or None: there was none, or its archive was damaged.

        Raises:
            OSError: The folder of the build cannot be written.
        """
        if not self.archive.is_file():
            return None
        with tempfile.TemporaryDirectory(prefix=".answers-", dir=self.work) as folder:
            kept = Path(folder, "kept")
            try:
                unpack.unpack(self.archive, kept)
                tree = kept / "tree"
                found = sorted(path.relative_to(tree) for path in tree.rglob("*"))
                self._check(found)
                for path in (kept / "log", *(tree / name for name in found)):
                    if path.is_file() and not path.is_symlink():
                        path.write_bytes(self.marks.into(path.read_bytes()))
                said = (kept / "log").read_text("utf-8", "replace")
            except (RezbuildError, OSError) as error:
                why = error.message if isinstance(error, RezbuildError) else str(error)
                # It runs then, and what it leaves is kept in this one's place.
                Reporter().notice(f"  notice: what an earlier configure left cannot be used: {why}")
                return None
            try:
                self._put(tree, found)
            except OSError as error:
                raise BuildError(
                    f"what configure leaves cannot be written into {self.work}: {error}",
                    advice=["look at the free space and the permissions there"],
                ) from None
        with contextlib.suppress(OSError):
            os.utime(self.archive)
        return said

    def _check(self, names: Iterable[Path]) -> None:
        """Sees that nothing would be written through a link, out of the folder.

        Raises:
            UnpackError: It would.
        """
        work = self.work.resolve()
        for name in names:
            if (work / name.parent).resolve() != work / name.parent:
                raise UnpackError(f"its {name} would be written through a link")

    def _put(self, tree: Path, names: Iterable[Path]) -> None:
        put = []
        for name in names:
            path, target = tree / name, self.work / name
            if path.is_dir() and not path.is_symlink():
                target.mkdir(exist_ok=True)
                continue
            target.unlink(missing_ok=True)
            shutil.copy2(path, target, follow_symlinks=False)
            put += [] if path.is_symlink() else [target]
        now = _clock(self.work)
        # Equal times: make takes none of them for older than another.
        for path in put:
            os.utime(path, ns=(now, now))
        # What a recipe writes next is newer: many file systems' clocks stand for milliseconds.
        until = time.monotonic() + 3
        while _clock(self.work) <= now and time.monotonic() < until:
            time.sleep(0.001)

    def keep(self, log: Path) -> None:
        """Keeps what a run has left, unless that would not be the same elsewhere.

        Args:
            log: What it has printed.
        """
        try:
            self._keep(log)
        except _OfThisBuildError:
            return
        except OSError as error:
            Reporter().notice(f"  notice: what configure left is not kept: {error}")

    def _keep(self, log: Path) -> None:
        after = _signatures(self.work)
        changed = sorted(name for name in after if after[name] != self.before.get(name))
        kinds = [(self.before[name][0], after[name][0]) for name in changed if name in self.before]
        if self.before.keys() - after.keys() or any(old != new for old, new in kinds):
            raise _OfThisBuildError
        found = [(f"tree/{name}", *self._member(name)) for name in changed]
        members = [("log", self._plain(log), False), *found]
        if self.unchanged():
            _write(self.archive, members)
            _prune(self.archive.parent)

    def _member(self, name: str) -> tuple[bytes | str | None, bool]:
        """Content or link's target or None, and whether it is a program."""
        path = self.work / name
        kind = path.lstat().st_mode
        if stat.S_ISLNK(kind):
            target = os.readlink(path)
            whole = os.path.normpath(os.path.join(os.path.dirname(name), target))
            if target.startswith("/") or whole.split("/")[0] == "..":
                raise _OfThisBuildError
            return target, False
        if stat.S_ISDIR(kind):
            return None, True
        if not stat.S_ISREG(kind):
            raise _OfThisBuildError
        return self._plain(path), bool(kind & stat.S_IXUSR)

    def _plain(self, path: Path) -> bytes:
        found = self.marks.kept(path.read_bytes())
        if found is None:
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
        build: The build path, which no file that is kept may name.
        work: The folder of the build, with the source in it.
        home: The build's HOME.
        dependencies: The roots of what it is built against, by name.
        facts: Says what else a run depends on, such as the compilers and the host.
    """

    folder: Path
    name: str
    build: Path
    work: Path
    home: Path
    dependencies: Mapping[str, Path]
    facts: Callable[[], Sequence[str]]

    def ask(self, argv: Sequence[str], env: Mapping[str, str], folder: str) -> Asked | None:
        """What a run of configure would read now.

        Args:
            argv: Its words.
            env: Its environment.
            folder: Where it runs, below the source.

        Returns:
            None: nothing can be kept here, nor found.
        """
        marks = self._marks()
        records = [root / "rezbuild.json" for root in self.dependencies.values()]
        if not marks.plain or not all(record.is_file() for record in records):
            return None
        before, facts = _signatures(self.work), self.facts()
        total = hashlib.sha256()
        heard = {name: value for name, value in env.items() if not name.startswith(_UNHEARD)}
        needs = sorted(self.dependencies)
        told = [_FORMAT, list(facts), list(argv), folder, sorted(heard.items()), needs]
        total.update(marks.out(json.dumps(told).encode()))
        for record in records:
            total.update(hashlib.sha256(record.read_bytes()).digest())
        for name in sorted(before):
            total.update(json.dumps(name).encode() + _content(self.work / name, marks))
        archive = self.folder / f"{self.name}-{total.hexdigest()}.tar.gz"
        return Asked(archive, self.work, marks, before, lambda: self.facts() == facts)

    def _marks(self) -> Marks:
        folders = {"work": self.work, "home": self.home}
        folders |= {f"need-{name}": root for name, root in self.dependencies.items()}
        # A shell's pwd says where links lead.
        real = {f"real-{name}": path.resolve() for name, path in folders.items()}
        return Marks({**real, **folders}, self.build)


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


def _content(path: Path, marks: Marks) -> bytes:
    kind = path.lstat().st_mode
    data = b"%o" % (stat.S_IFMT(kind) | kind & stat.S_IXUSR)
    if stat.S_ISLNK(kind):
        data += marks.out(os.fsencode(os.readlink(path)))
    elif stat.S_ISREG(kind):
        data += marks.out(path.read_bytes())
    elif stat.S_ISDIR(kind):
        data = b"folder"
    return hashlib.sha256(data).digest()


def _clock(folder: Path) -> int:
    """The time that a file gets which is written now, in ns: a file system's, not the host's."""
    with tempfile.NamedTemporaryFile(dir=folder) as probe:
        return os.fstat(probe.fileno()).st_mtime_ns


def _prune(folder: Path) -> None:
    """Removes what has not been used for long, and what killed builds have left."""
    now = time.time()
    for path in folder.iterdir():
        days = 1 if path.is_dir() else _UNUSED
        with contextlib.suppress(OSError):
            if now - path.lstat().st_mtime > days * 86400:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


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
