"""Build a package again under other conditions, and compare the payloads.

The installed package is the first build if its inputs are unchanged; otherwise the package is built
twice. The second build uses the same installed dependencies. It runs in a separate process
(`rezbuild.verify.rebuild_process`) and folder. No repository is written.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rezbuild.build import pgo_profiles
from rezbuild.build.inputs import Inputs
from rezbuild.build.toolchain import jobs
from rezbuild.catalogue.model import Recipe, Release
from rezbuild.errors import REPORT, CheckError, RezError, UsageError, from_report
from rezbuild.files import ownership
from rezbuild.files.diff_trees import Difference, compare
from rezbuild.payload import debug_data, manifest
from rezbuild.plan import resolve
from rezbuild.reporter import Reporter
from rezbuild.repository import installed as repository
from rezbuild.repository.installed import Installed
from rezbuild.settings import Settings, build_profile
from rezbuild.sources.fetch import Fetcher
from rezbuild.verify import build_variations
from rezbuild.verify.build_variations import Conditions
from rezbuild.verify.rebuild_process import RebuildOrder

# Rez writes these into an installed variant, with times and paths.
OF_REZ = ("build.rxt", "variant.json")
_TAIL = 20


@dataclass(frozen=True)
class Report:
    """The result of a comparison.

    Attributes:
        first: The first payload: an installed one, or in a temporary folder that was deleted.
        conditions: The conditions of the second build.
        files: The number of compared names.
    """

    package: str
    profile: str
    fingerprint: str
    first: Path
    conditions: Conditions
    files: int
    differences: tuple[Difference, ...]

    def as_data(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {
            "package": self.package,
            "profile": self.profile,
            "fingerprint": self.fingerprint,
            "first": str(self.first),
            "varied": self.conditions.as_data(),
            "not_varied": list(self.conditions.same),
            "files": self.files,
            "identical": not self.differences,
            "differences": [
                {"path": d.path, "what": d.what, "detail": list(d.detail)} for d in self.differences
            ],
        }

    def lines(self) -> Iterator[str]:
        """Yield the lines for a terminal."""
        for difference in self.differences:
            yield f"{difference.path}: {difference.what}"
            yield from (f"    {line}" for line in difference.detail)
        for line in self.conditions.same:
            yield f"not varied: {line}"
        if self.differences:
            paths = len({difference.path for difference in self.differences})
            yield f"{self.package} ({self.profile}): {paths} of {self.files} files differ"
        else:
            yield f"{self.package} ({self.profile}): {self.files} files, identical byte for byte"


@dataclass(frozen=True)
class Options:
    """The options of ``rezbuild reproduce``.

    Attributes:
        keep: An empty folder for both payloads and all logs; None: a temporary folder.
        training: The PGO profile of the first build; None: the one in the cache.
    """

    keep: Path | None = None
    training: Path | None = None


@dataclass(frozen=True)
class _Subject:
    """The package that is built again.

    Attributes:
        profile_store: The path of the PGO profile in a cache.
        installed: The installed package, if it was built from the same inputs.
        trained: The file with the PGO profile, or None.
        glibc: The glibc to build for, or None; as of the installed package, unless it is set.
    """

    recipe: Recipe
    release: Release
    profile: str
    dependencies: tuple[tuple[str, str, str], ...]
    profile_store: Path = Path()
    installed: Installed | None = None
    trained: Path | None = None
    glibc: str | None = None

    def order(self, folder: Path, under: Conditions) -> RebuildOrder:
        """Return the order for a build below ``folder``."""
        return RebuildOrder(
            recipe=str(self.recipe.folder.absolute()),
            version=self.release.version,
            profile=self.profile,
            dependencies=self.dependencies,
            build_path=str(folder / "build"),
            payload=str(folder / "payload"),
            umask=under.umask,
            hostname=under.hostname,
            user=under.user,
            steps=dict(under.steps),
        )


def reproduce(
    request: str,
    recipes: Path,
    settings: Settings,
    reporter: Reporter,
    options: Options,
) -> Report:
    """Build a package again, and compare the payloads.

    Args:
        request: e.g. ``zlib`` or ``python-3.11``.
        recipes: The folder of recipes.
        settings: The settings of the builds.
        reporter: Prints the progress.
        options: The folder and the PGO profile.

    Raises:
        RezError: A dependency is not installed.
        BuildError, ChecksumError: The PGO profile of the first build is missing or differs.
        RezbuildError: A build failed.
    """
    subject = _find(request, resolve.recipes(recipes), settings, reporter)
    subject = replace(subject, trained=_trained(subject, options.training))
    name = f"{subject.release.name}-{subject.release.version}"
    number = jobs(settings, {"REZ_BUILD_THREAD_COUNT": str(repository.jobs())})
    with _scratch(options.keep) as scratch:
        if subject.installed is None:
            first = _build(
                subject,
                scratch / "first",
                build_variations.usual_conditions(number),
                settings,
                reporter,
            )
            made = scratch / "first/cache" / pgo_profiles.FOLDER / subject.profile_store.name
            subject = replace(subject, trained=made if made.is_file() else None)
        else:
            first = subject.installed.root
            reporter.info(f"{name}: the first build is {first}")
        # A name of another length: paths in binaries then shift the bytes after them.
        folder = scratch / "the-second-build-in-another-place"
        folder.mkdir()
        under = build_variations.varied_conditions(folder, number)
        second = _build(subject, folder, under, settings, reporter)
        ignored = OF_REZ if subject.installed else ()
        found = tuple(compare(first, second, ignored))
        record = manifest.read(second) or {}
        files = sum(1 for _ in second.rglob("*"))
    fingerprint = str(record.get("fingerprint"))
    return Report(name, subject.profile, fingerprint, first, under, files, found)


def _find(
    request: str, recipes: resolve.Recipes, settings: Settings, reporter: Reporter
) -> _Subject:
    """Return the newest installed package that matches, else the one that would be built."""
    paths = repository.search_path(release=False)
    recipe = recipes.get(resolve.requirement(request).name)
    for release in resolve.versions_in(recipe, request) if recipe else ():
        found = repository.installed(release.name, release.version, paths)
        if recipe and found and found.record:
            return _installed(recipe, release, found, settings, reporter)
    # The build fetches the sources.
    fetcher = Fetcher(settings, reporter=reporter)
    step = resolve.plan(recipes, [request], lambda _, release: fetcher.available(release))[-1]
    profile = build_profile(settings.profile, release=False)
    against = _payloads(step.built_against, paths, str(step))
    subject = _Subject(step.recipe, step.release, profile, against, glibc=settings.glibc)
    return replace(subject, profile_store=_inputs(subject, settings).stored_profile)


def _inputs(subject: _Subject, settings: Settings) -> Inputs:
    job = subject.order(Path(), build_variations.usual_conditions(1)).job
    return Inputs.gather(job, replace(settings, glibc=subject.glibc))


def _trained(subject: _Subject, named: Path | None) -> Path | None:
    """Return the PGO profile for both builds, or None without a training.

    Raises:
        UsageError: The named file does not exist, or the package has no training.
        BuildError, ChecksumError: The first build was compiled with another profile.
    """
    file = named.absolute() if named else subject.profile_store
    if subject.installed is None:
        if named and not file.is_file():
            raise UsageError(
                f"{file} does not exist", advice=["name the PGO profile: --pgo-profile FILE"]
            )
        # No record names the right profile.
        return file if file.is_file() else None
    what = f"{subject.release.name}-{subject.release.version}"
    wanted = subject.installed.record.get("training")
    if wanted:
        pgo_profiles.check(file, str(wanted), what)
        return file
    if named:
        raise UsageError(
            f"{what} was built without a training", advice=["leave --pgo-profile out for it"]
        )
    return None


def in_order(release: Release, against: Mapping[str, str]) -> dict[str, str]:
    """Return the dependencies in Rez's order, in which the compiler searches them.

    The record of a payload has them in alphabetical order.
    """
    names = [request.partition("-")[0] for request in release.requires]
    order = [*(name for name in names if name in against), *sorted({*against} - {*names})]
    return {name: against[name] for name in order}


def _installed(
    recipe: Recipe,
    release: Release,
    found: Installed,
    settings: Settings,
    reporter: Reporter,
) -> _Subject:
    """Return an installed package; it is the first build if its inputs are unchanged."""
    record = found.record
    paths = repository.search_path(release=False)
    had = record.get("profile")
    profile = settings.profile or had or build_profile(None, release=False)
    name = f"{release.name}-{release.version}"
    against = in_order(release, record.get("built_against") or {})
    floor = settings.glibc or str(record.get("glibc_floor") or "").partition(" ")[0] or None
    subject = _Subject(recipe, release, profile, _payloads(against, paths, name), glibc=floor)
    inputs = _inputs(subject, settings)
    subject = replace(subject, profile_store=inputs.stored_profile)
    if inputs.fingerprint != record.get("fingerprint"):
        reporter.info(f"{name}: {found.root} was built from other inputs, so it is built twice")
        return subject
    # Use the archive of the first build: upstream's and the distribution's have different bytes.
    used = (record.get("source") or {}).get("sha256")
    archives = tuple(a for a in release.archives if a.sha256 == used) or release.archives
    return replace(subject, release=replace(release, archives=archives), installed=found)


def _payloads(
    versions: Mapping[str, str], paths: list[str], what: str
) -> tuple[tuple[str, str, str], ...]:
    """Return name, version and root of installed packages.

    Raises:
        RezError: A package is not installed.
    """
    found = []
    for name, version in versions.items():
        installed = repository.installed(name, version, paths)
        if installed is None:
            raise RezError(
                f"{what} is built against {name}-{version}, which is not installed",
                tried=paths,
                advice=[f"build it first: rezbuild build {name}-{version}"],
            )
        found.append((name, version, str(installed.root)))
    return tuple(found)


@contextmanager
def _scratch(keep: Path | None) -> Iterator[Path]:
    """Give a temporary folder, or the one to keep.

    Raises:
        UsageError: The folder is not empty.
    """
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="rezbuild-") as folder:
            yield Path(folder)
        return
    keep.mkdir(parents=True, exist_ok=True)
    if any(keep.iterdir()):
        raise UsageError(f"{keep} is not empty", advice=["remove it, or name another folder"])
    yield keep.resolve()


def _build(
    subject: _Subject,
    folder: Path,
    under: Conditions,
    settings: Settings,
    reporter: Reporter,
) -> Path:
    """Run one build below ``folder``; return its payload.

    Raises:
        RezbuildError: The build failed.
    """
    folder.mkdir(exist_ok=True)
    order, report, log = folder / "order.json", folder / "report.json", folder / "log"
    planned = subject.order(folder, under)
    order.write_text(json.dumps(vars(planned)), encoding="utf-8")
    environ = {
        **under.environ,
        **_cache(subject, folder, settings),
        "REZBUILD_JOBS": str(under.jobs),
        "REZBUILD_GLIBC": subject.glibc or "",
        REPORT: str(report),
    }
    shown = ", ".join(f"{name} {value}" for name, value in under.as_data().items())
    name = f"{subject.release.name}-{subject.release.version}"
    if subject.trained:
        reporter.info(f"{name}: without a training, by what was counted in {subject.trained}")
    reporter.info(f"{name}: building ({shown})")
    argv = [sys.executable, "-I", "-u", "-m", "rezbuild.verify.rebuild_process", str(order)]
    with log.open("w", encoding="utf-8") as stream:
        # Ctrl-C also reaches it, because it is in the same process group.
        done = subprocess.run(
            argv,
            env=environ,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0:
        raise _failure(done.returncode, report, log)
    return Path(planned.payload)


def _cache(subject: _Subject, folder: Path, settings: Settings) -> dict[str, str]:
    """Make a cache for one build; return the settings that select it."""
    cache = folder / "cache"
    ownership.check_folder(settings, settings.cache)
    if subject.trained:
        _link(cache / pgo_profiles.FOLDER / subject.profile_store.name, subject.trained)
    Fetcher(settings).mirror(subject.release, cache / "sources")
    for _, _, root in subject.dependencies:
        record = manifest.read(Path(root)) or {}
        for build_id in (record.get("build_ids") or {}).values():
            kept = settings.cache / "debug" / debug_data.path_of(build_id)
            if kept.is_file():
                _link(cache / "debug" / debug_data.path_of(build_id), kept)
    return {
        "REZBUILD_CACHE": str(cache),
        "REZBUILD_OFFLINE": "1",
        # Objects of earlier builds would prove nothing.
        "REZBUILD_CCACHE": "",
        # The files were checked above; with another user id, they seem to belong to others.
        "REZBUILD_TRUST_CACHE": "1",
    }


def _link(name: Path, target: Path) -> None:
    name.parent.mkdir(parents=True, exist_ok=True)
    name.symlink_to(target)


def _failure(status: int, report: Path, log: Path) -> Exception:
    """Return the error of a failed build."""
    try:
        return from_report(json.loads(report.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:]
        return CheckError(
            "\n".join([f"the build ended with exit code {status}. Its last lines:", *lines]),
            advice=["add --keep DIR to keep its logs"],
        )
