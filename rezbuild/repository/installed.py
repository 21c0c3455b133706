"""Installed packages: variants in Rez repositories, read through Rez."""

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
from rezbuild.util import words

# Rez's packages for the host of a variant.
HOST_FAMILIES = ("platform", "arch")


@dataclass(frozen=True)
class Installed:
    """A variant in a repository, with the record of its build, or {}."""

    repository: Path
    root: Path
    record: dict[str, Any]


def jobs() -> int:
    """Return Rez's number of parallel jobs of a build (``build_thread_count``)."""
    return int(config.build_thread_count)


def search_path(*, release: bool) -> list[str]:
    """Return the repositories for the resolve of a build; a release ignores the local one."""
    return list(config.nonlocal_packages_path if release else config.packages_path)


def target(*, release: bool) -> Path:
    """Return the repository in which builds are installed.

    Raises:
        MachineError: Rez does not search that repository.
    """
    path = Path(config.release_packages_path if release else config.local_packages_path)
    searched = [Path(p).resolve() for p in search_path(release=release)]
    if path.resolve() not in searched:
        raise MachineError(
            f"Rez does not search packages in {path}, where builds are installed",
            tried=[f"Rez searches {folder}" for folder in searched],
            advice=["add it to Rez's packages_path (REZ_PACKAGES_PATH)"],
        )
    return path


def variant_root(repository: Path, name: str, version: str) -> Path:
    """Return the path of the host's variant of a package in a repository."""
    return repository.joinpath(name, version, *_host_folders())


def installed(name: str, version: str, paths: Iterable[str]) -> Installed | None:
    """Return the host's variant of exactly this version in the first repository that has it.

    Raises:
        RezError: A package cannot be read.
    """
    with _rez(f"{name}-{version}"):
        for path in paths:
            package = get_package_from_repository(name, version, path)
            for variant in package.iter_variants() if package else ():
                root = Path(variant.root or "")
                # Rez resolves links in a repository's path, so compare the last folders only.
                if root.parts[-2:] == _host_folders() and root.is_dir():
                    return Installed(Path(path), root, manifest.read(root) or {})
    return None


def versions(name: str, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield version and repository of all installed versions of a package."""
    with _rez(name):
        for path in paths:
            for package in iter_packages(name, paths=[path]):
                yield str(package.version), path


def attributes(
    name: str, version: str, paths: Iterable[str], wanted: Sequence[str]
) -> dict[str, Any]:
    """Return attributes of exactly this version in the first repository that has it, or {}.

    Items of lists become strings.

    Raises:
        RezError: A package cannot be read.
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
    """Clear Rez's caches, so that it reads the repositories again."""
    package_repository_manager.clear_caches()


def bind_host(target: Path, paths: Sequence[str]) -> list[str]:
    """Create Rez's packages for this host's platform and arch if no repository has them.

    Args:
        target: The repository for the new packages.
        paths: The repositories that Rez searches.

    Returns:
        The names of the new packages, e.g. ``platform-linux``.

    Raises:
        RezError: Rez could not create a package.
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
    """Return variables that make Rez install into one repository, and search only there.

    Args:
        repository: A folder, or "" to keep Rez's settings.
        release: Whether ``rez-release`` installs.
    """
    if not repository:
        return {}
    # For a release, Rez ignores the local repository, so that must be another folder.
    local = str(Path(repository, ".rezbuild", "local")) if release else repository
    return {
        "REZ_PACKAGES_PATH": repository,
        "REZ_LOCAL_PACKAGES_PATH": local,
        **({"REZ_RELEASE_PACKAGES_PATH": repository} if release else {}),
    }


def resolve_root(request: str) -> Path:
    """Return the root of the variant that Rez resolves for a request.

    Raises:
        UsageError: The text is not a request.
        RezError: The request does not resolve.
    """
    try:
        name = Requirement(request).name
    except VersionError as error:
        raise UsageError(
            f"{request!r} is neither a folder nor a Rez request: {words.reason(error)}"
        ) from None
    reason = "the package has no files"
    try:
        context = ResolvedContext([request])
        variant = context.get_resolved_package(name) if context.success else None
        reason = context.failure_description or reason
        if variant is not None and variant.root:
            return Path(variant.root)
    except RezsOwnError as error:
        reason = words.reason(error)
    raise RezError(
        f"{request!r} does not resolve to a payload: {reason}",
        advice=["list packages: rez-search", "or name a folder"],
    )


def _host_folders() -> tuple[str, str]:
    return (f"platform-{system.platform}", f"arch-{system.arch}")


@contextlib.contextmanager
def _rez(what: str) -> Iterator[None]:
    """Raise errors of Rez, and of files that it reads, as RezError."""
    try:
        yield
    except (RezsOwnError, OSError) as error:
        raise RezError(
            f"Rez cannot read or write {what}: {words.reason(error)}",
            advice=["repair or remove that package, and check the repository's permissions"],
        ) from None
