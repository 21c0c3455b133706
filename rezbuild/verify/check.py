"""Tries a finished payload: the audit first, then what the ``check.py`` of its recipe asks of it.

Such a check.py has a function ``quick(c)`` and may have one ``suite(c, tests)``, which runs
upstream's own tests. Both get a `Check` and yield a `Result` for each thing they have tried.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rezbuild.audit import audit
from rezbuild.build import toolchain
from rezbuild.catalogue import model, sources_toml
from rezbuild.errors import CheckError, UsageError
from rezbuild.files import apply_patches, unpack
from rezbuild.payload import manifest, self_test
from rezbuild.settings import Settings
from rezbuild.sources.fetch import Fetcher
from rezbuild.util import import_file

FILE_NAME = "check.py"
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Result:
    """What came of one check.

    Attributes:
        name: What was checked, in a word or two.
        detail: What was found, in one line.
        problems: What is wrong, one line each; none: it passed.
    """

    name: str
    detail: str = ""
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{'FAILED' if self.problems else 'ok':8}{self.name}"]
        lines[0] += f": {self.detail}" if self.detail else ""
        return "\n".join([*lines, *(f"        {problem}" for problem in self.problems)])


@dataclass
class Check:
    """A payload under examination, as a recipe's ``check.py`` gets it.

    Attributes:
        root: The payload.
        record: Its ``rezbuild.json``.
        recipe: The recipe's folder.
        scratch: An empty folder to work in.
        temporary: TMPDIR of what is run. A short path: multiprocessing makes sockets in it, which
            may have 107 bytes, unix(7).
        jobs: Parallel jobs.
    """

    root: Path
    record: dict[str, Any]
    recipe: Path
    scratch: Path
    temporary: Path
    settings: Settings
    jobs: int = 1
    _source: Path | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The package's name."""
        return str(self.record["name"])

    @property
    def version(self) -> str:
        """The payload's version."""
        return str(self.record["version"])

    @property
    def steps(self) -> Path:
        """The folder of check.py; another recipe's where that one builds this package."""
        if (self.recipe / model.FILE_NAME).is_file():
            return sources_toml.load(self.recipe).steps
        return self.recipe

    @property
    def env(self) -> dict[str, str]:
        """The whole environment of what is run: nothing of the caller's."""
        home, temporary = self.scratch / "home", self.temporary / "tmp"
        for folder in (home, temporary):
            folder.mkdir(exist_ok=True)
        path = toolchain.build_path(self.settings)
        places = {"PATH": path, "HOME": str(home), "TMPDIR": str(temporary)}
        return {**places, "LANG": "C.UTF-8", "TERM": "dumb"}

    def run(
        self, *argv: str | Path, log: Path | None = None, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program; its output is returned, or written to ``log``.

        Raises:
            CheckError: It cannot be started.
        """
        words = [str(word) for word in argv]
        with (log or Path(os.devnull)).open("w", encoding="utf-8") as stream:
            try:
                return subprocess.run(
                    words,
                    cwd=self.scratch,
                    env={**self.env, **env},
                    stdin=subprocess.DEVNULL,
                    stdout=stream if log else subprocess.PIPE,
                    stderr=subprocess.STDOUT if log else subprocess.PIPE,
                    text=True,
                    errors="replace",
                    check=False,
                )
            except OSError as error:
                raise CheckError(f"{words[0]} does not run: {error.strerror}") from None

    def result(self, name: str, detail: str, problems: Sequence[str] = ()) -> Result:
        """What came of one check; see `Result`."""
        return Result(name, detail, tuple(problems))

    def source(self) -> Path:
        """The payload's pinned source, fetched, unpacked and patched as for its build.

        Raises:
            FetchError: No route gave it.
        """
        if self._source is None:
            recipe = sources_toml.load(self.recipe)
            release = recipe.release(self.version)
            fetched = Fetcher(self.settings).fetch(release)
            self._source = unpack.unpack(fetched.path, self.scratch / "source")
            apply_patches.apply_patches(self._source, recipe.patches(release))
        return self._source

    @property
    def compiler(self) -> str:
        """The C compiler, for helpers of a suite.

        Raises:
            MachineError: There is none.
        """
        return toolchain.find(self.settings).cc


def check(  # noqa: PLR0913 (by keyword)
    root: Path,
    recipes: Path,
    settings: Settings,
    *,
    suite: Sequence[str] | None = None,
    keep: Path | None = None,
    moved: bool = False,
) -> Iterator[Result]:
    """Tries the payload; the results come as they are had.

    Args:
        root: The payload.
        recipes: The folder of recipes.
        settings: For the jobs, and for the source's routes.
        suite: Run upstream's own tests too: those named, or all where it is empty.
        keep: Work in this folder and leave it there; by default a temporary one.
        moved: Try a copy that stands elsewhere.

    Raises:
        UsageError: It is no payload of ours, or its package has no such suite.
        FetchError: The suite's source could not be had.
    """
    record = manifest.read(root)
    if record is None:
        raise UsageError(
            f"{root} is no payload of rezbuild: it has no {manifest.MANIFEST} that can be read",
            advice=["name a variant's root or a Rez request", "rezbuild audit takes any folder"],
        )
    name, version = record.get("name"), record.get("version")
    if not (isinstance(name, str) and _NAME.fullmatch(name) and isinstance(version, str)):
        raise UsageError(f"{root / manifest.MANIFEST} names no package and version")
    broken = audit(root).errors
    problems = tuple(f"{f.rule.id}: {f.path}: {f.message}" for f in broken)
    yield Result("audit", f"{len(broken)} rules broken", problems)
    temporary = Path(tempfile.mkdtemp(prefix="rezbuild-"))
    try:
        scratch = temporary if keep is None else _empty(keep)
        if moved:
            root = Path(shutil.copytree(root, scratch / "moved", symlinks=True))
        jobs = toolchain.jobs(settings, os.environ)
        folder = recipes / str(record["name"])
        yield from _tried(Check(root, record, folder, scratch, temporary, settings, jobs), suite)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _tried(c: Check, suite: Sequence[str] | None) -> Iterator[Result]:
    before = snapshot(c.root)
    known = import_file.load(c.steps, FILE_NAME) if (c.steps / FILE_NAME).is_file() else None
    yield from _on_this_host(c)
    if known is not None:
        yield from known.quick(c)
    if suite is not None:
        if not hasattr(known, "suite"):
            raise UsageError(f"{c.name} has no test suite of its own: no suite() in {FILE_NAME}")
        yield from known.suite(c, suite)  # type: ignore[union-attr]
    changed = sorted(path for path, _ in before ^ snapshot(c.root))
    problems = tuple(dict.fromkeys(f"{path} was written" for path in changed))
    yield Result("read-only", "nothing is written into the payload by using it", problems)


def _on_this_host(c: Check) -> Iterator[Result]:
    """The test that the payload carries, all of it."""
    script = c.root / self_test.FOLDER / self_test.RUN
    if not script.is_file():
        return
    done = c.run("sh", script, "long")
    lines = [line.partition(" ")[::2] for line in done.stdout.splitlines()]
    for word, said in lines:
        name, _, detail = said.strip().partition(": ")
        if word == "FAILED":
            yield Result(name, "", (detail or name,))
        elif word == "ok":
            yield Result(name, detail)
    if done.returncode != 0 and not any(word == "FAILED" for word, _ in lines):
        yield Result("on this host", "", tuple(done.stderr.splitlines()[-1:] or ["it crashed"]))


def snapshot(root: Path) -> set[tuple[str, tuple[int, int]]]:
    """All there is below a folder: relative paths, each with its size and its time in ns."""
    facts = ((str(path.relative_to(root)), path.lstat()) for path in root.rglob("*"))
    return {(path, (stat.st_size, stat.st_mtime_ns)) for path, stat in facts}


def _empty(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty", advice=["remove it or name another one"])
    return folder.resolve()
