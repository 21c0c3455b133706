"""A build under given conditions: a process of `rezbuild.verify.reproduce`.

    python -I -m rezbuild.verify.rebuild_process FILE

FILE is the `RebuildOrder` as JSON. An error is written to the file that REZBUILD_REPORT names.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rezbuild.build.inputs import Job
from rezbuild.build.pipeline import build_payload
from rezbuild.errors import as_error, write_report
from rezbuild.payload.dependency import Dependency
from rezbuild.reporter import Reporter
from rezbuild.settings import Settings

# unshare(2): namespaces of host names and of users.
_CLONE_NEWUTS = 0x04000000
_CLONE_NEWUSER = 0x10000000


@dataclass(frozen=True)
class RebuildOrder:
    """A package to build, and the conditions; plain data, for another process.

    Attributes:
        recipe: The recipe's folder.
        dependencies: Name, version and root of each dependency.
        build_path: A folder for this build only.
        payload: The path of the result.
        umask: The umask of the process.
        hostname: A host name that only this process sees, or "".
        user: The user id that the process sees; None: the caller's.
        steps: Variables that are added to the environment of the build's steps.
    """

    recipe: str
    version: str
    profile: str
    dependencies: tuple[tuple[str, str, str], ...]
    build_path: str
    payload: str
    umask: int
    hostname: str = ""
    user: int | None = None
    steps: Mapping[str, str] = field(default_factory=dict)

    @property
    def job(self) -> Job:
        """The job for `rezbuild.build.pipeline`."""
        return Job(
            recipe_folder=Path(self.recipe),
            version=self.version,
            build_path=Path(self.build_path),
            places=(Path(self.payload),),
            profile=self.profile,
            dependencies={n: Dependency(n, v, Path(root)) for n, v, root in self.dependencies},
            environ=self.steps,
        )

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> RebuildOrder:
        """Return an order from JSON, which has no tuples."""
        return cls(**{**data, "dependencies": tuple(map(tuple, data["dependencies"]))})


def apply_conditions(order: RebuildOrder) -> None:
    """Apply the conditions of an order to this process.

    Raises:
        OSError: The kernel does not allow it.
    """
    if order.user is not None:
        enter_user_namespace(order.user)
    if order.hostname:
        set_hostname(order.hostname)
    os.umask(order.umask)


def enter_user_namespace(user: int) -> None:
    """Show this process and its children another user id, in a user namespace.

    The kernel still checks permissions with the caller's id, so that the process can read the
    interpreter in the caller's home folder. Root loses its rights (user_namespaces(7)).

    Raises:
        OSError: The kernel does not allow it.
    """
    own = os.getuid(), os.getgid()
    _unshare(_CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    for name, number in zip(("uid_map", "gid_map"), own):
        Path("/proc/self", name).write_text(f"{user} {number} 1", encoding="ascii")


def set_hostname(name: str) -> None:
    """Give this process and its children another host name.

    Raises:
        OSError: The kernel does not allow it.
    """
    _unshare(_CLONE_NEWUTS)
    socket.sethostname(name)


def _unshare(what: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(what) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def main() -> int:
    """Build; return 0 or the exit code of the error."""
    order = RebuildOrder.read(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    try:
        apply_conditions(order)
        with build_payload(order.job, Settings.read(), Reporter()) as payload:
            shutil.move(payload, order.payload)
    except Exception as exception:  # noqa: BLE001 (users see a message, not a traceback)
        error = as_error(exception)
        write_report(error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
