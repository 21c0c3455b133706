"""Builds a package again under other conditions, and says what of the payload is not the same.

What is installed is the first build, where it was made from the inputs of today; else there are two
builds. The second is against the same installed packages, in a process of its own
(`rezbuild.verify.rebuild_process`), in a folder that nothing else uses. No repository is written.
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
from rezbuild.verify.rebuild_process import Order

# Rez writes them into a variant that it installs, with times and places.
OF_REZ = ("build.rxt", "variant.json")
_TAIL = 20


@dataclass(frozen=True)
class Report:
    """What came of it.

    Attributes:
        first: Where the first build is: an installed payload, or a folder that is gone.
        conditions: Those of the second build.
        files: How many names were compared.
    """

    package: str
    profile: str
    fingerprint: str
    first: Path
    conditions: Conditions
    files: int
    differences: tuple[Difference, ...]

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
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
        """For people."""
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
    """Wishes of whoever calls.

    Attributes:
        keep: An empty folder to work in and to leave, with both payloads and all logs; by default
            a temporary one.
        training: What the compiler counted in the training of the first build; by default the
            cache is asked for it.
    """

    keep: Path | None = None
    training: Path | None = None


@dataclass(frozen=True)
class _Subject:
    """What is built again.

    Attributes:
        profile_store: The place in a cache for what the compiler counts in a training.
        installed: The first build, where there is one from the same inputs.
        trained: The file with what was counted in the training, where there was one.
    """

    recipe: Recipe
    release: Release
    profile: str
    dependencies: tuple[tuple[str, str, str], ...]
    profile_store: Path = Path()
    installed: Installed | None = None
    trained: Path | None = None

    def order(self, folder: Path, under: Conditions) -> Order:
        """Its build below ``folder``."""
        return Order(
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
    """Builds, and compares.

    Args:
        request: As in ``zlib`` or ``python-3.11``.
        recipes: The folder of recipes.
        settings: Those of any build.
        reporter: Is told what is being done.
        options: Where to work, and by which training.

    Raises:
        RezError: What it is built against is not installed.
        BuildError, ChecksumError: What was counted for the first build is not at hand.
        RezbuildError: A build failed.
    """
    subject = _find(request, resolve.recipes(recipes), settings, reporter)
    subject = replace(subject, trained=_trained(subject, options.training))
    name = f"{subject.release.name}-{subject.release.version}"
    number = jobs(settings, {"REZ_BUILD_THREAD_COUNT": str(repository.jobs())})
    with _scratch(options.keep) as scratch:
        if subject.installed is None:
            first = _build(
                subject, scratch / "first", build_variations.usual(number), settings, reporter
            )
            made = scratch / "first/cache" / pgo_profiles.FOLDER / subject.profile_store.name
            subject = replace(subject, trained=made if made.is_file() else None)
        else:
            first = subject.installed.root
            reporter.info(f"{name}: the first build is {first}")
        # Another length: paths in fixed places show themselves by more than their letters.
        folder = scratch / "the-second-build-in-another-place"
        folder.mkdir()
        under = build_variations.others(folder, number)
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
    """What a request means: the newest that is installed, else what would be built."""
    paths = repository.search_path(release=False)
    recipe = recipes.get(resolve.requirement(request).name)
    for release in resolve.versions_in(recipe, request) if recipe else ():
        found = repository.installed(release.name, release.version, paths)
        if recipe and found and found.record:
            return _installed(recipe, release, found, settings, reporter)
    # The sources are asked for when it is built.
    fetcher = Fetcher(settings, reporter=reporter)
    step = resolve.plan(recipes, [request], lambda _, release: fetcher.available(release))[-1]
    profile = build_profile(settings.profile, release=False)
    against = _payloads(step.built_against, paths, str(step))
    subject = _Subject(step.recipe, step.release, profile, against)
    return replace(subject, profile_store=_inputs(subject, settings).stored_profile)


def _inputs(subject: _Subject, settings: Settings) -> Inputs:
    return Inputs.gather(subject.order(Path(), build_variations.usual(1)).job, settings)


def _trained(subject: _Subject, named: Path | None) -> Path | None:
    """What both builds are given of a training; None where there was or is to be none.

    Raises:
        UsageError: A file was named for nothing, or there is none of that name.
        BuildError, ChecksumError: It is not what the first build was compiled with.
    """
    file = named.absolute() if named else subject.profile_store
    if subject.installed is None:
        if named and not file.is_file():
            raise UsageError(f"there is no file {file}", advice=["--pgo-profile names one"])
        # No record says which one it has to be.
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
    """What it was built against, as Rez resolves it: the compiler looks in this order.

    A record has names in the order of the alphabet.
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
    """An installed package, as the first build where it was made from the inputs of today."""
    record = found.record
    paths = repository.search_path(release=False)
    had = record.get("profile")
    profile = settings.profile or had or build_profile(None, release=False)
    name = f"{release.name}-{release.version}"
    against = in_order(release, record.get("built_against") or {})
    subject = _Subject(recipe, release, profile, _payloads(against, paths, name))
    inputs = _inputs(subject, settings)
    subject = replace(subject, profile_store=inputs.stored_profile)
    if inputs.fingerprint != record.get("fingerprint"):
        reporter.info(f"{name}: {found.root} was built from other inputs, so it is built twice")
        return subject
    # Upstream's archive and the distribution's are not the same bytes; any will do for a build.
    used = (record.get("source") or {}).get("sha256")
    archives = tuple(a for a in release.archives if a.sha256 == used) or release.archives
    return replace(subject, release=replace(release, archives=archives), installed=found)


def _payloads(
    versions: Mapping[str, str], paths: list[str], what: str
) -> tuple[tuple[str, str, str], ...]:
    """Name, version and root of installed packages.

    Raises:
        RezError: One is not installed.
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
    """A private folder, or the one that is to be kept.

    Raises:
        UsageError: There is something in it.
    """
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="rezbuild-") as folder:
            yield Path(folder)
        return
    keep.mkdir(parents=True, exist_ok=True)
    if any(keep.iterdir()):
        raise UsageError(f"{keep} is not empty", advice=["remove it or name another one"])
    yield keep.resolve()


def _build(
    subject: _Subject,
    folder: Path,
    under: Conditions,
    settings: Settings,
    reporter: Reporter,
) -> Path:
    """Runs one build below ``folder``; its payload.

    Raises:
        RezbuildError: It failed.
    """
    folder.mkdir(exist_ok=True)
    order, report, log = folder / "order.json", folder / "report.json", folder / "log"
    planned = subject.order(folder, under)
    order.write_text(json.dumps(vars(planned)), encoding="utf-8")
    environ = {
        **under.environ,
        **_cache(subject, folder, settings),
        "REZBUILD_JOBS": str(under.jobs),
        REPORT: str(report),
    }
    shown = ", ".join(f"{name} {value}" for name, value in under.as_data().items())
    name = f"{subject.release.name}-{subject.release.version}"
    if subject.trained:
        reporter.info(f"{name}: without a training, by what was counted in {subject.trained}")
    reporter.info(f"{name}: building ({shown})")
    argv = [sys.executable, "-I", "-u", "-m", "rezbuild.verify.rebuild_process", str(order)]
    with log.open("w", encoding="utf-8") as stream:
        # Ctrl-C reaches it as well: it is of this process's group.
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
    """A cache of this build's own, with all it needs, so that it leaves nothing behind."""
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
        # What was compiled before would be no proof.
        "REZBUILD_CCACHE": "",
        # What it holds has been looked at; another user sees others as its owners.
        "REZBUILD_TRUST_CACHE": "1",
    }


def _link(name: Path, target: Path) -> None:
    name.parent.mkdir(parents=True, exist_ok=True)
    name.symlink_to(target)


def _failure(status: int, report: Path, log: Path) -> Exception:
    """What a build has to say of its failure."""
    try:
        return from_report(json.loads(report.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:]
        return CheckError(
            "\n".join([f"the build ended with exit code {status}. Its last lines:", *lines]),
            advice=["--keep DIR leaves its logs"],
        )
