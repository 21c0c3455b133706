"""What a recipe sees: the folders, the dependencies and the steps of one build."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rezbuild.build import pgo_profiles
from rezbuild.errors import BuildError, UnpackError
from rezbuild.reporter import Reporter
from rezbuild.util import jobserver, processes

# Below it is every prefix that is configured with: the same on each machine, and nowhere there.
NEUTRAL = "/rezbuild/"
_TAIL = 30


@dataclass(frozen=True)
class Dependency:
    """A package that Rez resolved for this build.

    Attributes:
        root: Its variant's root.
    """

    name: str
    version: str
    root: Path

    @property
    def include(self) -> Path:
        """Where its headers are."""
        return self.root / "include"

    @property
    def lib(self) -> Path:
        """Where its libraries are."""
        return self.root / "lib"


@dataclass
class Build:
    """One build, as ``recipe.py`` gets it.

    Attributes:
        recipe: The folder of recipe.py.
        source: The unpacked, patched source; steps run here.
        destdir: What is installed lands below it.
        logs: Where the numbered logs go.
        profile: ``fast`` or ``optimized``.
        jobs: The most jobs at once, of all builds that run.
        env: The whole environment of the steps; a recipe may add to it.
        dependencies: What Rez resolved, by name.
        jobserver: Where makes share the jobs with those of other builds, or "".
        debug_store: Where debug data is kept; see `rezbuild.payload.debug_data`.
        limit: Seconds that a step may take, or None.
        profile_store: The file for what the compiler counts in a training; see
            `rezbuild.build.pgo_profiles`.
        training: The SHA-256 of that file, in hex, once it is used or made; else "".
        reporter: Is told of the steps.
    """

    name: str
    version: str
    recipe: Path
    source: Path
    destdir: Path
    logs: Path
    profile: str
    jobs: int
    env: dict[str, str]
    dependencies: Mapping[str, Dependency]
    jobserver: str = ""
    debug_store: Path = Path()
    limit: float | None = None
    profile_store: Path = Path()
    training: str = ""
    reporter: Reporter = field(default_factory=Reporter)
    commands: list[list[str]] = field(default_factory=list)

    @property
    def prefix(self) -> str:
        """The prefix to configure with: the same on each machine, and nowhere there."""
        return f"{NEUTRAL}{self.name}-{self.version}"

    @property
    def payload(self) -> Path:
        """Where the files of the prefix lie after the installation."""
        return self.destdir / self.prefix.lstrip("/")

    @property
    def optimized(self) -> bool:
        """True in the profile ``optimized``."""
        return self.profile == "optimized"

    @property
    def series(self) -> tuple[int, int]:
        """Major and minor version, for what upstream changed between them."""
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor)

    def dependency(self, name: str) -> Dependency:
        """What Rez resolved for ``name``.

        Raises:
            BuildError: It is not in the resolve.
        """
        try:
            return self.dependencies[name]
        except KeyError:
            raise BuildError(
                f"{self.name} is built against {name}, which Rez did not resolve",
                advice=[f"add it to 'requires' in the sources.toml of {self.name}"],
            ) from None

    def search_dependencies(self) -> None:
        """Puts the dependencies' headers, libraries and .pc files before the host's."""
        found = list(self.dependencies.values())
        self._prepend("CPPFLAGS", " ", [f"-I{d.include}" for d in found if d.include.is_dir()])
        self._prepend("LDFLAGS", " ", [f"-L{d.lib}" for d in found if d.lib.is_dir()])
        self._prepend("PKG_CONFIG_PATH", ":", [str(d.lib / "pkgconfig") for d in found])

    def flags(self, **values: str) -> None:
        """Adds to CFLAGS, LDFLAGS and the like."""
        for name, value in values.items():
            self.env[name] = f"{self.env.get(name, '')} {value}".strip()

    def language(self, standard: str) -> None:
        """Compile this source as the C that it was written for, such as ``gnu17``.

        gcc 15 compiles C23 by default: ``bool`` is a keyword there, and ``int f()`` takes no
        arguments. The flag serves this build only; no payload records it for others.
        """
        self.flags(CFLAGS=f"-std={standard}")

    def first_library(self, *names: str) -> str:
        """The first of the libraries (as in ``-l<name>``) that a program can be linked with.

        Raises:
            BuildError: There is none of them.
        """
        words = [self.env["CC"], "-x", "c", "-", "-o", os.devnull]
        words += shlex.split(self.env.get("LDFLAGS", ""))
        for name in names:
            done = subprocess.run(
                [*words, f"-l{name}"],
                input=b"int main(void) { return 0; }",
                env=self.env,
                cwd=self.source,
                capture_output=True,
                check=False,
            )
            if done.returncode == 0:
                return name
        raise BuildError(
            f"{self.name} needs one of the libraries {', '.join(names)}, and none can be linked",
            advice=["rezbuild doctor says which system package brings it"],
        )

    def run(
        self,
        *argv: str,
        env: Mapping[str, str] | None = None,
        folder: str = "",
        descriptors: Sequence[int] = (),
    ) -> None:
        """Runs one step in the source folder, with its output in a numbered log.

        Args:
            argv: The program (from that folder, where it is a relative path) and its arguments.
            env: What goes before the environment of all steps.
            folder: Below the source folder, to run it there.
            descriptors: Open files that the program inherits.

        Raises:
            BuildError: It failed, or took longer than a step may; the message holds the last lines
                and the log's name.
        """
        self.commands.append(list(argv))
        step = f"{len(self.commands):02d}-{_label(argv)}"
        log = self.logs / f"{step}.log"
        with self.reporter.step(step), log.open("w", encoding="utf-8") as stream:
            stream.write(f"$ {shlex.join(argv)}\n")
            stream.flush()
            environment = {**self.env, **(env or {})}
            place = self.source / folder
            status = self._spawn(argv, place, environment, stream.fileno(), descriptors)
            if status != 0:
                how = (
                    _how(status)
                    if status is not None
                    else f"longer than REZBUILD_STEP_TIMEOUT, {self.limit:g} s"
                )
                raise _failure(f"{self.name} {self.version}: {shlex.join(argv)}", how, log)

    def configure(self, *argv: str, env: Mapping[str, str] | None = None, folder: str = "") -> None:
        """Run a configure script, as `run` does."""
        self.run(*argv, env=env, folder=folder)

    def make(self, *arguments: str) -> None:
        """``make`` with as many jobs as this build may have."""
        with jobserver.share(self.jobserver, self.jobs) as share:
            words = ("make", *share.arguments, *arguments)
            self.run(*words, env=share.env, descriptors=share.descriptors)

    def install(self, *targets: str) -> None:
        """``make install`` (or the targets named) into the staging folder."""
        self.make(f"DESTDIR={self.destdir}", *(targets or ("install",)))

    def stored_profile(self) -> bool:
        """Puts what was counted in an earlier training from the same inputs where it was found.

        Returns:
            Whether there is any: then no training is needed, and there may be none.

        Raises:
            UnpackError: What is there is damaged.
        """
        if not self.profile_store.is_file():
            return False
        self.reporter.info(f"  trained before: {self.profile_store}")
        try:
            self.training = pgo_profiles.restore(self.profile_store, self.source)
        except UnpackError as error:
            error.advice += ("or remove it: the build trains anew then",)
            raise
        return True

    def keep_profile(self, *patterns: str) -> None:
        """Keeps what the compiler has counted in a training, for builds from the same inputs.

        Args:
            patterns: Of its files, below the source folder, as in ``**/*.gcda``.

        Raises:
            BuildError: There are none.
        """
        self.training = pgo_profiles.keep(self.source, patterns, self.profile_store)
        self.reporter.info(f"  what was learnt in training: {self.profile_store}")

    def describe(self, name: str, libs: str, description: str, *, private: str = "") -> None:
        """Writes a file for pkg-config where upstream has none.

        Args:
            name: Of the file and in it.
            libs: What links a program, such as ``-lbz2``.
            description: One line.
            private: What links a program statically.
        """
        folder = self.payload / "lib/pkgconfig"
        folder.mkdir(parents=True, exist_ok=True)
        lines = [
            f"prefix={self.prefix}",
            "libdir=${prefix}/lib",
            "includedir=${prefix}/include",
            "",
            f"Name: {name}",
            f"Description: {description}",
            f"Version: {self.version}",
            f"Libs: -L${{libdir}} {libs}",
            *([f"Libs.private: {private}"] if private else []),
            "Cflags: -I${includedir}",
        ]
        (folder / f"{name}.pc").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def remove(self, *patterns: str) -> None:
        """Removes what matches, relative to the payload; a pattern may match nothing."""
        for pattern in patterns:
            for path in sorted(self.payload.glob(pattern)):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()

    def _prepend(self, name: str, separator: str, values: Sequence[str]) -> None:
        old = self.env.get(name)
        self.env[name] = separator.join([*values, *([old] if old else [])])

    def _spawn(
        self,
        argv: Sequence[str],
        folder: Path,
        env: Mapping[str, str],
        output: int,
        descriptors: Sequence[int],
    ) -> int | None:
        """Runs a program; its exit code, or None where it was ended for taking too long."""
        try:
            process = subprocess.Popen(
                argv,
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=descriptors,
                # A group of its own, to be ended as one; by default Ctrl-C reaches it as well.
                start_new_session=self.limit is not None,
            )
        except OSError as error:
            raise BuildError(f"{argv[0]} does not run: {error.strerror}") from None
        with process:
            try:
                return process.wait(self.limit)
            except subprocess.TimeoutExpired:
                self._end(process)
                return None
            except BaseException:
                self._end(process)
                raise

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Ends a step, with all that it has started."""
        processes.end(process.pid)
        if self.limit is not None:
            # What has lost its parent, and is of its group still.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _label(argv: Sequence[str]) -> str:
    words = [Path(argv[0]).name, *(word for word in argv[1:] if word.isidentifier())]
    return "-".join(words[:2])


def _how(status: int) -> str:
    return f"exit code {status}" if status >= 0 else f"killed by signal {-status}"


def _failure(what: str, how: str, log: Path) -> BuildError:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:]
    return BuildError(
        f"{what}: {how}. The last lines of {log}:\n" + "\n".join(f"    {line}" for line in lines),
        advice=[f"the whole output: {log}"],
    )
