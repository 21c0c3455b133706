"""The API of recipes: the folders, the dependencies and the steps of one build."""

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
from rezbuild.build.toolchain import Toolchain
from rezbuild.errors import BuildError, UnpackError
from rezbuild.payload.dependency import PLACEHOLDER_ROOT, Dependency
from rezbuild.reporter import Reporter
from rezbuild.util import jobserver, processes

# Lines of the log that an error message shows.
_TAIL = 30


@dataclass
class Build:
    """One build; the argument of the functions in ``recipe.py``.

    Attributes:
        recipe: The folder of recipe.py.
        source: The unpacked, patched source; steps run here.
        destdir: The value of DESTDIR for installations.
        logs: The folder for the numbered logs.
        profile: ``fast`` or ``optimized``.
        jobs: The number of parallel jobs, shared with all builds that run now.
        env: The whole environment of the steps; a recipe may add to it.
        dependencies: The packages that Rez resolved, by name.
        tools: The compilers, and the programs that they run.
        jobserver: The address of make's job server, or "".
        debug_store: The folder for debug data; see `rezbuild.payload.debug_data`.
        limit: Seconds that a step may take, or None for no limit.
        profile_store: The file for the PGO profile; see `rezbuild.build.pgo_profiles`.
        training: The SHA-256 of that file in hex; "" while it is neither used nor made.
        reporter: The receiver of messages and of the steps' events.
        commands: The commands of the steps that have run.
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
    tools: Toolchain
    jobserver: str = ""
    debug_store: Path = Path()
    limit: float | None = None
    profile_store: Path = Path()
    training: str = ""
    reporter: Reporter = field(default_factory=Reporter)
    commands: list[list[str]] = field(default_factory=list)

    @property
    def prefix(self) -> str:
        """The placeholder prefix to configure with, e.g. ``/rezbuild/zlib-1.3.1``."""
        return f"{PLACEHOLDER_ROOT}{self.name}-{self.version}"

    @property
    def payload(self) -> Path:
        """The folder that holds the files of the prefix after the installation."""
        return self.destdir / self.prefix.lstrip("/")

    @property
    def optimized(self) -> bool:
        """Whether the profile is ``optimized``."""
        return self.profile == "optimized"

    @property
    def series(self) -> tuple[int, int]:
        """Major and minor version, e.g. ``(3, 11)``."""
        major, minor = self.version.split(".")[:2]
        return int(major), int(minor)

    def dependency(self, name: str) -> Dependency:
        """Return the package that Rez resolved for ``name``.

        Raises:
            BuildError: The package is not in the resolve.
        """
        try:
            return self.dependencies[name]
        except KeyError:
            raise BuildError(
                f"{name} is not in the resolve of {self.name}",
                advice=[f"add it to 'requires' in the sources.toml of {self.name}"],
            ) from None

    def search_dependencies(self) -> None:
        """Search headers, libraries and .pc files of the dependencies before the host's."""
        found = list(self.dependencies.values())
        self._prepend("CPPFLAGS", " ", [f"-I{d.include}" for d in found if d.include.is_dir()])
        self._prepend("LDFLAGS", " ", [f"-L{d.lib}" for d in found if d.lib.is_dir()])
        self._prepend("PKG_CONFIG_PATH", ":", [str(d.lib / "pkgconfig") for d in found])

    def flags(self, **values: str) -> None:
        """Append to CFLAGS, LDFLAGS and similar variables."""
        for name, value in values.items():
            self.env[name] = f"{self.env.get(name, '')} {value}".strip()

    def language(self, standard: str) -> None:
        """Compile the source as a C standard, e.g. ``gnu17``.

        gcc 15 compiles C23 by default: there, ``bool`` is a keyword, and ``int f()`` takes no
        arguments. The flag is for this build only; files that others read do not contain it.
        """
        self.flags(CFLAGS=f"-std={standard}")

    def run(
        self,
        *argv: str,
        env: Mapping[str, str] | None = None,
        folder: str = "",
        descriptors: Sequence[int] = (),
    ) -> None:
        """Run one step in the source folder, with its output in a numbered log.

        Args:
            argv: The program and its arguments. A relative path starts at the source folder.
            env: Variables that override the environment of all steps.
            folder: A folder below the source folder, to run the step there.
            descriptors: Open files that the program inherits.

        Raises:
            BuildError: The step failed or took too long; the message has the log's last lines.
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

    def configure(
        self,
        *options: str,
        script: str = "./configure",
        folder: str = "",
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Run a configure script with ``--prefix`` and the options of the recipe.

        Args:
            options: Options after ``--prefix=<b.prefix>``.
            script: The path of the script, from ``folder``.
            folder: A folder below the source folder, to run the script there.
            env: Variables that override the environment of all steps.
        """
        self.run(script, f"--prefix={self.prefix}", *options, env=env, folder=folder)

    def make(self, *arguments: str) -> None:
        """Run ``make`` with the jobs of this build."""
        with jobserver.share(self.jobserver, self.jobs) as share:
            words = ("make", *share.arguments, *arguments)
            self.run(*words, env=share.env, descriptors=share.descriptors)

    def install(self, *targets: str) -> None:
        """Run ``make install``, or other targets, into the staging folder."""
        self.make(f"DESTDIR={self.destdir}", *(targets or ("install",)))

    def stored_profile(self) -> bool:
        """Restore the PGO profile of an earlier build with the same inputs.

        Returns:
            Whether there is one. If so, the recipe must skip the training.

        Raises:
            UnpackError: The stored profile is damaged.
        """
        if not self.profile_store.is_file():
            return False
        self.reporter.info(f"  PGO profile of an earlier build: {self.profile_store}")
        try:
            self.training = pgo_profiles.restore(self.profile_store, self.source)
        except UnpackError as error:
            error.advice += ("or remove it: the next build collects a new profile",)
            raise
        return True

    def keep_profile(self, *patterns: str) -> None:
        """Store the PGO profile of a training, for later builds with the same inputs.

        Args:
            patterns: The profile's files below the source folder, e.g. ``**/*.gcda``.

        Raises:
            BuildError: No file matches.
        """
        self.training = pgo_profiles.keep(self.source, patterns, self.profile_store)
        self.reporter.info(f"  PGO profile: {self.profile_store}")

    def describe(self, name: str, libs: str, description: str, *, private: str = "") -> None:
        """Write a .pc file for pkg-config; use this if upstream has none.

        Args:
            name: The name of the file and of the module.
            libs: Options that link a program, e.g. ``-lbz2``.
            description: One line of text.
            private: Further options that link a program statically.
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
        """Remove files and folders of the payload; a pattern may match nothing."""
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
        """Run a program; return its exit code, or None if it took too long and was killed."""
        try:
            process = subprocess.Popen(
                argv,
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=descriptors,
                # A separate group can be killed as a whole, but Ctrl-C does not reach it.
                start_new_session=self.limit is not None,
            )
        except OSError as error:
            raise BuildError(f"{argv[0]} cannot be started: {error.strerror}") from None
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
        """Kill a step and all processes that it has started."""
        processes.end(process.pid)
        if self.limit is not None:
            # Orphan processes: they still belong to the step's process group.
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
        advice=[f"read the whole output: {log}"],
    )
