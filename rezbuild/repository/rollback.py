"""Put back a package that `rezbuild build --release --replace` has replaced."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rez.version import Requirement, Version, VersionError

from rezbuild.errors import MachineError, ReleaseError, UsageError
from rezbuild.repository import installed, staging
from rezbuild.util import words


@dataclass(frozen=True)
class Replaced:
    """A replaced package in the folder ``.rezbuild/old`` of a repository.

    Attributes:
        folder: Its folder, with package.py.
        time: When it was replaced, in nanoseconds since 1970.
    """

    repository: Path
    folder: Path
    name: str
    version: str
    time: int

    @property
    def package(self) -> str:
        """Name and version, e.g. ``python-3.11.2``."""
        return f"{self.name}-{self.version}"

    @property
    def payload(self) -> Path:
        """The folder of the host's variant."""
        return self.folder / installed.variant_root(Path(), "", "")


def find(repository: Path, request: str) -> Replaced:
    """Return the package that was replaced last.

    Args:
        repository: The release repository.
        request: A Rez request, e.g. ``python-3.11``.

    Raises:
        UsageError: The text is not a request, or several versions match it.
        ReleaseError: No replaced package matches it.
    """
    try:
        wanted = Requirement(request)
    except VersionError as error:
        raise UsageError(
            f"invalid request {request!r}: {words.reason(error)}",
            advice=["name a package: python-3.11.2"],
        ) from None
    old = repository / staging.FOLDER / "old"
    found = [package for package in _replaced(repository, wanted) if package.payload.is_dir()]
    versions = sorted({package.version for package in found}, key=Version)
    if not found:
        raise ReleaseError(
            f"no replaced package for {request} in {old}",
            advice=["build the older recipe again: rezbuild build --release --replace"],
        )
    if len(versions) > 1:
        raise UsageError(
            f"several replaced versions for {request}: {', '.join(versions)}",
            advice=["name one of them exactly"],
        )
    return max(found, key=lambda package: package.time)


def _replaced(repository: Path, wanted: Requirement) -> Iterator[Replaced]:
    """Yield the complete packages in ``.rezbuild/old`` for a request."""
    for folder in (repository / staging.FOLDER / "old").glob(f"{wanted.name}-*"):
        package, _, time = folder.name.rpartition("-")
        version = package[len(wanted.name) + 1 :]
        complete = time.isdecimal() and (folder / "package.py").is_file()
        with contextlib.suppress(VersionError):  # other users may have made the folder
            if complete and Version(version) in wanted.range:
                yield Replaced(repository, folder, wanted.name, version, int(time))


@contextlib.contextmanager
def locked(package: Replaced, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a package, so that no release replaces it during the block.

    Raises:
        MachineError: Another user may have put the replaced folder there.
    """
    with staging.locked(package.repository, package.package, say):
        status = package.folder.lstat()
        target = package.repository / package.name / package.version
        owners = {os.geteuid(), *([target.lstat().st_uid] if target.is_dir() else [])}
        if not stat.S_ISDIR(status.st_mode) or status.st_uid not in owners:
            raise MachineError(
                f"{package.folder} is not a folder of yours or of the package's owner",
                advice=["find out who put it there, then remove it"],
            )
        yield


def put_back(package: Replaced) -> None:
    """Swap a replaced package with the one in its place, which is kept for a week then.

    Both are swapped in one step if the file system can do so. Requires `locked`.

    Raises:
        ReleaseError: The package in its place has variants that the replaced one lacks.
    """
    place = Path(package.name, package.version)
    added = _variants(package.repository / place) - _variants(package.folder)
    if added:
        raise ReleaseError(
            f"{package.package} has variants that the replaced package lacks:"
            f" {', '.join(sorted(added))}",
            advice=["build the older recipe again: rezbuild build --release --replace"],
        )
    staging.put(package.folder, place, package.repository, package.package, keep=True)
    # Rez's caches check the time of this folder.
    os.utime(package.repository / package.name)
    installed.forget()


def _variants(folder: Path) -> set[str]:
    """Return the paths of the variants below the folder of a package."""
    return {str(path.parent.relative_to(folder)) for path in folder.rglob("rezbuild.json")}
