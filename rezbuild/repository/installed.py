"""What is installed: the Rez repositories, read through Rez, and the variants in them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rez.config import config
from rez.exceptions import RezError as RezsOwnError
from rez.package_bind import bind_package
from rez.package_repository import package_repository_manager
from rez.packages import get_package_from_repository, iter_packages
from rez.resolved_context import ResolvedContext
from rez.system import system
from rez.version import Requirement, VersionError

from rezbuild.errors import MachineError, RezError, UsageError
from rezbuild.payload import manifest

# Rez's own packages that say which host a variant is for.
HOST_FAMILIES = ("platform", "arch")


@dataclass(frozen=True)
class Installed:
    """A variant in a repository, with the record of its build ({} where there is none)."""

    repository: Path
    root: Path
    record: dict[str, Any]


def jobs() -> int:
    """Parallel jobs of a build, as Rez is set (``build_thread_count``)."""
    return int(config.build_thread_count)


def search_path(*, release: bool) -> list[str]:
    """The repositories a build resolves from, in order: without the local one for a release."""
    return list(config.nonlocal_packages_path if release else config.packages_path)


def target(*, release: bool) -> Path:
    """Where a build is installed.

    Raises:
        MachineError: Rez would not find there what has been installed.
    """
    path = Path(config.release_packages_path if release else config.local_packages_path)
    searched = [Path(p).resolve() for p in search_path(release=release)]
    if path.resolve() not in searched:
        raise MachineError(
            f"builds are installed into {path}, where Rez does not look for packages",
            tried=[f"Rez looks in {folder}" for folder in searched],
            advice=["add it to Rez's packages_path (REZ_PACKAGES_PATH)"],
        )
    return path


def variant_root(repository: Path, name: str, version: str) -> Path:
    """Where the host's variant of a package stands in a repository on a file system."""
    return repository.joinpath(name, version, *_host_folders())


def installed(name: str, version: str, paths: Iterable[str]) -> Installed | None:
    """The host's variant of exactly this version in the first repository that has it.

    Raises:
        RezError: A package in the way cannot be read.
    """
    with _rez(f"{name}-{version}"):
        for path in paths:
            package = get_package_from_repository(name, version, path)
            for variant in package.iter_variants() if package else ():
                root = Path(variant.root or "")
                # Rez resolves links in a repository's path, so only the end can be compared.
                if root.parts[-2:] == _host_folders() and root.is_dir():
                    return Installed(Path(path), root, manifest.read(root) or {})
    return None


def versions(name: str, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Version and repository of all that is installed of a package."""
    with _rez(name):
        for path in paths:
            for package in iter_packages(name, paths=[path]):
                yield str(package.version), path


def attributes(
    name: str, version: str, paths: Iterable[str], wanted: Sequence[str]
) -> dict[str, Any]:
    """Attributes of exactly this version in the first repository that has it; {} without one.

    Lists hold strings, as they are written.

    Raises:
        RezError: A package in the way cannot be read.
    """
    with _rez(f"{name}-{version}"):
        for path in paths:
            package = get_package_from_repository(name, version, path)
            if package:
                found = {key: getattr(package, key, None) for key in wanted}
                return {
                    k: list(map(str, v)) if isinstance(v, list) else v for k, v in found.items()
                }
    return {}


def forget() -> None:
    """Makes Rez look at the repositories anew: it remembers what it has read."""
    package_repository_manager.clear_caches()


def bind_host(target: Path, paths: Sequence[str]) -> list[str]:
    """Makes Rez's packages for this host's platform and arch where the repositories lack them.

    Args:
        target: The repository to make them in.
        paths: Those that Rez looks in.

    Returns:
        What was made.

    Raises:
        RezError: Rez could not.
    """
    made = []
    for name, version in zip(HOST_FAMILIES, (system.platform, system.arch)):
        if any(found == version for found, _ in versions(name, paths)):
            continue
        with _rez(f"{name}-{version}"):
            bind_package(name, path=str(target), quiet=True)
        made.append(f"{name}-{version}")
    return made


def environment(repository: str, *, release: bool) -> dict[str, str]:
    """What has Rez install into a repository, and look for packages there and nowhere else.

    Args:
        repository: A folder, or "" to leave Rez as it is set.
        release: By ``rez-release``.
    """
    if not repository:
        return {}
    # In a release Rez does not look into the local one, so that must be another.
    local = str(Path(repository, ".rezbuild", "local")) if release else repository
    return {
        "REZ_PACKAGES_PATH": repository,
        "REZ_LOCAL_PACKAGES_PATH": local,
        **({"REZ_RELEASE_PACKAGES_PATH": repository} if release else {}),
    }


def resolve_root(request: str) -> Path:
    """The root of the variant that Rez resolves for a request.

    Raises:
        UsageError: It is no request.
        RezError: It resolves to nothing.
    """
    try:
        name = Requirement(request).name
    except VersionError as error:
        raise UsageError(f"{request!r} is neither a folder nor a Rez request: {error}") from None
    reason = "it has none"
    try:
        context = ResolvedContext([request])
        variant = context.get_resolved_package(name) if context.success else None
        reason = context.failure_description or reason
        if variant is not None and variant.root:
            return Path(variant.root)
    except RezsOwnError as error:
        reason = str(error)
    raise RezError(
        f"{request!r} does not resolve to a payload: {reason}",
        advice=["rez-search shows what there is", "or name a folder"],
    )


def _host_folders() -> tuple[str, str]:
    return (f"platform-{system.platform}", f"arch-{system.arch}")


@contextlib.contextmanager
def _rez(what: str) -> Iterator[None]:
    """Rez's errors, and those of the files it reads, in words of ours."""
    try:
        yield
    except (RezsOwnError, OSError) as error:
        raise RezError(
            f"Rez cannot deal with {what}: {error}",
            advice=["repair or remove the package it names, and check the repository's rights"],
        ) from None
