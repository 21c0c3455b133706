"""A build under other conditions than the one before: a process of `rezbuild.verify.reproduce`.

    python -I -m rezbuild.verify.rebuild_process FILE

FILE is JSON: the `Order`. What became of it is left in the file that REZBUILD_REPORT names.
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

# unshare(2): a host name, or numbers of users, of this process's own.
_CLONE_NEWUTS = 0x04000000
_CLONE_NEWUSER = 0x10000000


@dataclass(frozen=True)
class Order:
    """What is to be built, and under which conditions; plain data, for another process.

    Attributes:
        recipe: The recipe's folder.
        dependencies: Name, version and root of each payload that it is built against.
        build_path: A folder of this build's own.
        payload: Where the result is put.
        umask: Of the process.
        hostname: A name that this process alone sees, or "".
        user: The number of the user it is, as it sees it; None for whoever calls.
        steps: What goes over the environment of the build's steps.
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
        """The same for `rezbuild.build.pipeline`."""
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
    def read(cls, data: Mapping[str, Any]) -> Order:
        """From JSON, which knows no tuples."""
        return cls(**{**data, "dependencies": tuple(map(tuple, data["dependencies"]))})


def become(order: Order) -> None:
    """Takes on the conditions.

    Raises:
        OSError: The kernel does not let it.
    """
    if order.user is not None:
        seen_as(order.user)
    if order.hostname:
        own_hostname(order.hostname)
    os.umask(order.umask)


def seen_as(user: int) -> None:
    """Makes this process, and what it starts, another user: to itself, in a user namespace.

    Its files are the caller's still, so whatever those may read it may read: the interpreter too,
    which often stands in the home of whoever builds. Root is root no more (user_namespaces(7)).

    Raises:
        OSError: The kernel does not let it.
    """
    own = os.getuid(), os.getgid()
    _unshare(_CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    for name, number in zip(("uid_map", "gid_map"), own):
        Path("/proc/self", name).write_text(f"{user} {number} 1", encoding="ascii")


def own_hostname(name: str) -> None:
    """Gives this process, and what it starts, a host name of its own.

    Raises:
        OSError: The kernel does not let it.
    """
    _unshare(_CLONE_NEWUTS)
    socket.sethostname(name)


def _unshare(what: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(what) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def main() -> int:
    """Builds; the exit code is the error's."""
    order = Order.read(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    try:
        become(order)
        with build_payload(order.job, Settings.read(), Reporter()) as payload:
            shutil.move(payload, order.payload)
    except Exception as exception:  # noqa: BLE001 (users see a message, not a traceback)
        error = as_error(exception)
        write_report(error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
