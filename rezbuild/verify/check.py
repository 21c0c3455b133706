"""Test a finished payload: the audit, then the ``check.py`` of its recipe.

A check.py has a function ``quick(c)``, and may have ``suite(c, tests)``, which runs upstream's
tests. Both get a `Check`, and yield a `Result` for each test.
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
from rezbuild.files import apply_patches, noexec, unpack
from rezbuild.payload import manifest, self_test
from rezbuild.settings import Settings
from rezbuild.sources.fetch import Fetcher
from rezbuild.util import import_file, words

FILE_NAME = "check.py"
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Result:
    """The result of one check.

    Attributes:
        name: The subject of the check, in a word or two.
        detail: The finding, in one line.
        problems: The problems, one line each; empty: the check passed.
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
    """A payload under test, the argument of a recipe's ``check.py``.

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
        """The folder of check.py, which may belong to another recipe."""
        if (self.recipe / model.FILE_NAME).is_file():
            return sources_toml.load(self.recipe).steps
        return self.recipe

    @property
    def env(self) -> dict[str, str]:
        """The whole environment of the tests, without the caller's variables."""
        home, temporary = self.scratch / "home", self.temporary / "tmp"
        for folder in (home, temporary):
            folder.mkdir(exist_ok=True)
        path = toolchain.build_path(self.settings)
        places = {"PATH": path, "HOME": str(home), "TMPDIR": str(temporary)}
        return {**places, "LANG": "C.UTF-8", "TERM": "dumb"}

    def run(
        self, *argv: str | Path, log: Path | None = None, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a program; return its output, or write it to ``log``.

        Raises:
            CheckError: The program cannot be started.
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
                raise CheckError(f"{words[0]} cannot be started: {error.strerror}") from None

    def result(self, name: str, detail: str, problems: Sequence[str] = ()) -> Result:
        """Return a `Result`."""
        return Result(name, detail, tuple(problems))

    def source(self) -> Path:
        """Return the payload's source, fetched, unpacked and patched as for its build.

        Raises:
            FetchError: The source could not be downloaded.
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
            MachineError: No compiler is installed.
        """
        return toolchain.find(self.settings).cc


def check(  # noqa: PLR0913 (keywords)
    root: Path,
    recipes: Path,
    settings: Settings,
    *,
    suite: Sequence[str] | None = None,
    keep: Path | None = None,
    moved: bool = False,
) -> Iterator[Result]:
    """Test a payload; yield each result as soon as it is known.

    Args:
        root: The payload.
        recipes: The folder of recipes.
        settings: The jobs, the cache and the mirrors.
        suite: Also run upstream's tests: the named ones, or all if empty; None: none.
        keep: Work in this folder, and keep it; None: a temporary folder.
        moved: Test a copy in another folder.

    Raises:
        UsageError: ``root`` is not a payload of rezbuild, or its package has no suite.
        MachineError: Programs cannot run in its folder, or in the one for the tests.
        FetchError: The source of the suite could not be downloaded.
    """
    record = manifest.read(root)
    if record is None:
        raise UsageError(
            f"{root} is not a payload of rezbuild: {manifest.MANIFEST} is missing or damaged",
            advice=[
                "name a variant's root or a Rez request",
                "for other folders, use rezbuild audit",
            ],
        )
    name, version = record.get("name"), record.get("version")
    if not (isinstance(name, str) and _NAME.fullmatch(name) and isinstance(version, str)):
        raise UsageError(f"{root / manifest.MANIFEST} does not name a package and a version")
    noexec.refuse(root, keep or Path(tempfile.gettempdir()))
    broken = audit(root).errors
    problems = tuple(f"{f.rule.id}: {f.path}: {f.message}" for f in broken)
    yield Result("audit", f"{words.count(len(broken), 'rule')} broken", problems)
    temporary = Path(tempfile.mkdtemp(prefix="rezbuild-"))
    try:
        scratch = temporary if keep is None else _empty(keep)
        if moved:
            root = Path(shutil.copytree(root, scratch / "moved", symlinks=True))
        jobs = toolchain.jobs(settings, os.environ)
        folder = recipes / str(record["name"])
        yield from _results(Check(root, record, folder, scratch, temporary, settings, jobs), suite)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _results(c: Check, suite: Sequence[str] | None) -> Iterator[Result]:
    before = snapshot(c.root)
    known = import_file.load(c.steps, FILE_NAME) if (c.steps / FILE_NAME).is_file() else None
    yield from _self_test(c)
    if known is not None:
        yield from known.quick(c)
    if suite is not None:
        if not hasattr(known, "suite"):
            raise UsageError(f"{c.name} has no test suite: {FILE_NAME} has no function suite")
        yield from known.suite(c, suite)  # type: ignore[union-attr]
    changed = sorted(path for path, _ in before ^ snapshot(c.root))
    problems = tuple(dict.fromkeys(f"{path} was written" for path in changed))
    yield Result("read-only", "nothing is written into the payload by using it", problems)


def _self_test(c: Check) -> Iterator[Result]:
    """Run the payload's own test, with all its parts."""
    script = c.root / self_test.FOLDER / self_test.RUN
    if not script.is_file():
        return
    done = c.run("sh", script, "long")
    lines = [line.partition(" ")[::2] for line in done.stdout.splitlines()]
    for word, text in lines:
        name, _, detail = text.strip().partition(": ")
        if word == "FAILED":
            yield Result(name, "", (detail or name,))
        elif word == "ok":
            yield Result(name, detail)
    if done.returncode != 0 and not any(word == "FAILED" for word, _ in lines):
        yield Result("on this host", "", tuple(done.stderr.splitlines()[-1:] or ["it crashed"]))


def snapshot(root: Path) -> set[tuple[str, tuple[int, int]]]:
    """Return all paths below a folder, each with its size and its time in ns."""
    facts = ((str(path.relative_to(root)), path.lstat()) for path in root.rglob("*"))
    return {(path, (stat.st_size, stat.st_mtime_ns)) for path, stat in facts}


def _empty(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty", advice=["remove it, or name another folder"])
    return folder.resolve()
