"""Build one payload: fetch, unpack, build, relocate, audit, record. This module does not use Rez.

The payload is built in the build path. After the audit, the caller moves it into the repository.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rezbuild.audit import audit, glibc, show
from rezbuild.audit.places import Places, placeholder_prefix
from rezbuild.build import build_record, ccache, glibc_floor, toolchain
from rezbuild.build.inputs import Inputs, Job
from rezbuild.build.recipe_api import Build
from rezbuild.build.toolchain import Toolchain
from rezbuild.elf import hardening
from rezbuild.errors import AuditError, BuildError, UsageError
from rezbuild.files import apply_patches, locks, noexec, ownership, unpack
from rezbuild.payload import (
    debug_data,
    licenses,
    manifest,
    older_symbols,
    relocate,
    relocate_text,
    sbom,
    self_test,
)
from rezbuild.payload.dependency import Dependency
from rezbuild.reporter import BUILD, READY, Event, Reporter
from rezbuild.settings import Settings
from rezbuild.sources.fetch import Fetched, Fetcher
from rezbuild.util import import_file, jobserver, words

# Paths that make, configure and shells read literally.
_PLAIN = re.compile(r"[A-Za-z0-9_./+@~-]+")


@contextlib.contextmanager
def build_payload(job: Job, settings: Settings, reporter: Reporter) -> Iterator[Path]:
    """Build a payload in the job's build path, unless it is there from the same inputs; yield it.

    The build path is locked during the block, so that the caller can move the payload away.

    Raises:
        RezbuildError: The build failed; the class of the error says at which step.
    """
    inputs = Inputs.gather(job, settings)
    staging = job.build_path / "staging"
    job.build_path.mkdir(parents=True, exist_ok=True)
    with locks.open_lock(job.build_path / "rezbuild.lock", reporter.notice):
        ready = manifest.read(staging)
        if ready is not None and ready.get("fingerprint") == inputs.fingerprint:
            name = f"{inputs.recipe.name} {job.version}"
            reporter.info(f"{name}: already built from the same inputs", READY)
            glibc.check_record(name, ready, settings.glibc_limit)
        else:
            _build(inputs, staging, reporter)
        yield staging


def _build(inputs: Inputs, staging: Path, reporter: Reporter) -> None:
    # All users read payloads, whatever the builder's umask is; see the audit's rule on modes.
    os.umask(0o022)
    patchelf = toolchain.patchelf()
    noexec.refuse(inputs.job.build_path, Path(tempfile.gettempdir()))
    ownership.check_folder(inputs.settings, inputs.settings.cache)
    fetched = Fetcher(inputs.settings, reporter=reporter).fetch(inputs.release)
    work = _work_folder(inputs.job.build_path)
    # A short path: the path of a socket has at most 107 bytes, unix(7); multiprocessing makes some.
    with tempfile.TemporaryDirectory(prefix="rezbuild-") as home:
        build = _prepare(inputs, fetched, work, Path(home), reporter)
        places = _forbidden_places(inputs, build)
        record = build_record.inputs_as_data(inputs, fetched)
        record |= _steps(inputs, fetched, build, patchelf, places)
    _write_records(build.payload, record, places)
    # The work folder may be on another file system. The rename makes sure that a folder with the
    # name staging is complete.
    partial = _remove(staging.with_name("staging.partial"))
    shutil.move(build.payload, partial)
    partial.rename(_remove(staging))
    shutil.rmtree(work)


def _steps(
    inputs: Inputs, fetched: Fetched, build: Build, patchelf: str, places: Sequence[Path]
) -> dict[str, Any]:
    """Build and check the payload; return its part of the record."""
    recipe = import_file.load(inputs.recipe.steps, "recipe.py")
    how = f"{build.profile}, {words.count(build.jobs, 'job')}"
    build.reporter.info(f"{build.name} {build.version} ({how}): logs in {build.logs}")
    build.reporter.event(Event(BUILD))
    recipe.build(build)
    debug = _keep_debug_data(build, inputs.tools, places) if inputs.recipe.debug else {}
    bundled = _relocate(build, inputs.tools, patchelf)
    if hasattr(recipe, "finish"):
        recipe.finish(build)
    self_test.write(build.payload, inputs.recipe.steps, build.version)
    parts = recipe.parts(build) if hasattr(recipe, "parts") else ()
    _describe_parts(inputs, fetched, build, parts, bundled)
    work = {build.destdir.parent: "/rezbuild/work"}
    flags = build_record.flags_as_data(build, _replacements(build) | work)
    _set_modes(build.payload)
    needs = _audit(build, places, inputs.settings.glibc_limit)
    training = {"training": build.training} if build.training else {}
    return {"bundled": bundled, **debug, **training, **flags, **needs}


def _describe_parts(
    inputs: Inputs,
    fetched: Fetched,
    build: Build,
    parts: Iterable[sbom.Part],
    bundled: Mapping[str, list[str]],
) -> None:
    """Write the bill of materials, and the license texts of all parts."""
    release = inputs.release
    needed = [request.partition("-")[0] for request in release.requires]
    # A package that is built from another package's sources contains nothing of that package.
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
        glibc=inputs.tools.glibc,
    )
    sbom.write(build.payload, subject)


def _work_folder(build_path: Path) -> Path:
    """Make a folder whose path make, configure and shells read literally."""
    if _PLAIN.fullmatch(str(build_path)):
        return _make_empty(build_path / "work")
    if not _PLAIN.fullmatch(tempfile.gettempdir()):
        raise UsageError(
            f"the paths {build_path} and {tempfile.gettempdir()} contain characters that make and "
            "configure do not read literally",
            advice=["set TMPDIR to a folder whose path has letters, digits and ._+- only"],
        )
    return Path(tempfile.mkdtemp(prefix="rezbuild-"))


def _link_dependencies(
    dependencies: Mapping[str, Dependency], folder: Path
) -> dict[str, Dependency]:
    """Return the dependencies through links in ``folder``: their own paths may contain spaces."""
    folder.mkdir()
    for name, dependency in dependencies.items():
        (folder / name).symlink_to(dependency.root)
    return {name: replace(d, root=folder / name) for name, d in dependencies.items()}


def _prepare(inputs: Inputs, fetched: Fetched, work: Path, home: Path, reporter: Reporter) -> Build:
    source = unpack.unpack(fetched.path, work / "source")
    epoch = _newest_time(source)
    apply_patches.apply_patches(source, inputs.recipe.patches(inputs.release))
    tools, settings = inputs.tools, inputs.settings
    if tools.glibc and settings.glibc:
        tools = glibc_floor.wrap(tools, settings.glibc, settings.cache)
    env = toolchain.environment(tools, home, epoch)
    return Build(
        name=inputs.recipe.name,
        version=inputs.release.version,
        recipe=inputs.recipe.steps,
        source=source,
        destdir=work / "dest",
        logs=_make_empty(inputs.job.build_path / "logs"),
        profile=inputs.job.profile,
        jobs=toolchain.jobs(inputs.settings, os.environ),
        env={**env, **_ccache(settings, tools, home, work), **inputs.job.environ},
        dependencies=_link_dependencies(inputs.job.dependencies, work / "needs"),
        tools=tools,
        jobserver=os.environ.get(jobserver.VARIABLE, ""),
        debug_store=inputs.settings.cache / "debug",
        limit=inputs.settings.step_timeout,
        profile_store=inputs.stored_profile,
        reporter=reporter,
    )


def _ccache(settings: Settings, tools: Toolchain, home: Path, work: Path) -> dict[str, str]:
    """Return the variables that run compilers through ccache; none if it is not in use."""
    program = ccache.find(settings)
    if program is None:
        return {}
    return ccache.environment(program, tools, home, work, settings.cache)


def _keep_debug_data(build: Build, tools: Toolchain, places: Sequence[Path]) -> dict[str, Any]:
    """Copy the debug data to the cache before `relocate.strip`; return its part of the record."""
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
            advice=["configure with b.prefix and install with b.install() in its recipe"],
        )
    relocate.relative_links(payload, build.prefix)
    relocate.drop_names(payload)
    relocate.strip(payload, tools.tool("strip"))
    plan = relocate.plan(payload, build.dependencies.values())
    relocate.apply(plan, payload, patchelf)
    older_symbols.bind(payload)
    relocate_text.fix(payload, build.prefix, _replacements(build))
    return relocate.bundled_packages(plan)


def _set_modes(payload: Path) -> None:
    """Make all files readable for everyone, and writable for their owner only.

    Modes may differ because of upstream's install, a setgid folder or a default ACL (acl(5)).
    setuid bits stay: the audit refuses them.
    """
    for folder, _, names in os.walk(payload):
        Path(folder).chmod(0o755)
        for path in (Path(folder, name) for name in names):
            if not path.is_symlink():
                own = path.stat().st_mode & 0o6700 | stat.S_IRUSR
                path.chmod(own | (own & 0o500) >> 3 | (own & 0o500) >> 6)


def _replacements(build: Build) -> dict[Path, str]:
    """Return the folders of this machine that files may contain, with their replacements."""
    places = {build.payload: build.prefix, build.destdir: "", build.source: "/rezbuild/source"}
    for dependency in build.dependencies.values():
        places[dependency.root] = f"/rezbuild/{dependency.name}-{dependency.version}"
    return places


def _forbidden_places(inputs: Inputs, build: Build) -> list[Path]:
    """Return the folders of this machine that no file of the payload may contain."""
    job = inputs.job
    dependencies = [d.root for d in (*job.dependencies.values(), *build.dependencies.values())]
    # If the build path contains a space, the work folder is not below it.
    work = [build.source, build.destdir, Path(build.env["HOME"])]
    return [job.build_path, job.recipe_folder, *job.places, *work, *dependencies]


def _audit(build: Build, places: Sequence[Path], ceiling: str | None) -> dict[str, Any]:
    """Audit the payload; return the part of the record about its needs.

    Raises:
        AuditError: The payload breaks a rule.
    """
    report = audit(build.payload, places=places, own=True, ceiling=ceiling)
    if report.errors:
        raise show.refusal(f"{build.name} {build.version}", report, look=build.payload)
    host = {note.message for note in report.notes if note.rule.id == "needed-host"}
    others = {note.rule.id for note in report.notes} - {"needed-host"}
    for note in others:
        build.reporter.notice(
            f"  audit: note: {note}: for details, run rezbuild audit {build.name}"
        )
    return {
        "host_libraries": sorted(host),
        "elf": sorted(report.elf),
        "hardening": _hardening(build.payload, sorted(report.elf)),
        **show.needs_as_data(report.needs),
    }


def _hardening(payload: Path, files: Sequence[str]) -> dict[str, Any]:
    """Return the hardening of each ELF file that can be loaded."""
    found = {name: hardening.read(payload / name) for name in files}
    return {name: data.as_data() for name, data in found.items() if data is not None}


def _write_records(payload: Path, record: Mapping[str, Any], places: Sequence[Path]) -> None:
    """Write the records; like all files, they must not contain paths of this machine.

    Raises:
        AuditError: A record contains such a path, or the placeholder prefix.
    """
    manifest.write(payload, record)
    manifest.write_contents(payload)
    for name in manifest.RECORDS:
        data = (payload / name).read_bytes()
        found = [*Places(places).in_data(data, text=True), placeholder_prefix(data)]
        if any(found):
            raise AuditError(
                f"{name} of the payload contains {', '.join(filter(None, found))}",
                advice=["keep paths out of values that the recipe or a setting puts into it"],
            )


def _newest_time(folder: Path) -> int:
    """Return the time of the newest file in seconds: upstream's release, equal on each machine."""
    times = [path.lstat().st_mtime for path in folder.rglob("*") if path.is_file()]
    return int(max(times, default=0))


def _make_empty(folder: Path) -> Path:
    _remove(folder).mkdir(parents=True)
    return folder


def _remove(folder: Path) -> Path:
    if folder.exists():
        shutil.rmtree(folder)
    return folder
