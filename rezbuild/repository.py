"""What is installed: the Rez repositories, read through Rez, and the variants in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rez.config import config
from rez.exceptions import RezError as RezsOwnError
from rez.package_bind import bind_package
from rez.packages import get_package_from_repository, iter_packages
from rez.resolved_context import ResolvedContext
from rez.system import system

from rezbuild import manifest
from rezbuild.errors import RezError

# Rez's own packages that say which host a variant is for.
HOST_FAMILIES = ("platform", "arch")


@dataclass(frozen=True)
class Installed:
    """A variant in a repository, with the record of its build ({} where there is none)."""

    repository: Path
    root: Path
    record: dict[str, Any]


def search_path(*, release: bool) -> list[str]:
    """The repositories a build resolves from, in order: without the local one for a release."""
    return list(config.nonlocal_packages_path if release else config.packages_path)


def target(*, release: bool) -> Path:
    """Where a build is installed."""
    return Path(config.release_packages_path if release else config.local_packages_path)


def variant_root(repository: Path, name: str, version: str) -> Path:
    """Where the host's variant of a package stands in a repository on a file system."""
    return repository.joinpath(name, version, f"platform-{system.platform}", f"arch-{system.arch}")


def installed(name: str, version: str, paths: Iterable[str]) -> Installed | None:
    """What Rez would resolve for exactly this version: the first repository that has it wins."""
    for path in paths:
        package = get_package_from_repository(name, version, path)
        for variant in package.iter_variants() if package else ():
            root = Path(variant.root)
            if root == variant_root(Path(path), name, version):
                return Installed(Path(path), root, manifest.read(root) or {})
    return None


def versions(name: str, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Version and repository of all that is installed of a package."""
    for path in paths:
        for package in iter_packages(name, paths=[path]):
            yield str(package.version), path


def bind_host(*, release: bool) -> list[str]:
    """Makes Rez's packages for this host's platform and arch where the repositories lack them.

    Returns:
        What was made.

    Raises:
        RezError: Rez could not.
    """
    made = []
    for name, version in zip(HOST_FAMILIES, (system.platform, system.arch)):
        if installed_anywhere(name, version, search_path(release=release)):
            continue
        try:
            bind_package(name, path=str(target(release=release)), quiet=True)
        except (RezsOwnError, OSError) as error:
            raise RezError(
                f"Rez cannot bind {name} in {target(release=release)}: {error}",
                advice=[f"check the rights of the repository, or run: rez-bind {name}"],
            ) from None
        made.append(f"{name}-{version}")
    return made


def installed_anywhere(name: str, version: str, paths: Iterable[str]) -> bool:
    """Whether any of the repositories has the package."""
    return any(get_package_from_repository(name, version, path) for path in paths)


def resolve_root(request: str) -> Path:
    """The root of the variant that Rez resolves for a request.

    Raises:
        RezError: It resolves to nothing.
    """
    advice = ["rez-search shows what there is", "or name a folder"]
    try:
        context = ResolvedContext([request])
    except RezsOwnError as error:
        raise RezError(f"Rez cannot resolve {request!r}: {error}", advice=advice) from None
    if not context.success:
        raise RezError(
            f"Rez cannot resolve {request!r}: {context.failure_description}", advice=advice
        )
    name = request.split("-", maxsplit=1)[0]
    variant = context.get_resolved_package(name)
    if variant is None or variant.root is None:
        raise RezError(f"{request!r} has no payload", advice=advice)
    return Path(variant.root)
