"""Connections of scheduler, workers and clients: addresses, TLS, and Dask's settings."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rezbuild.errors import MachineError, UsageError
from rezbuild.farm import secret
from rezbuild.settings import Settings
from rezbuild.util import extras, words

if TYPE_CHECKING:
    from distributed.security import Security

_CONFIG = {
    # The profiler interrupts all threads each 10 ms, for a dashboard that is disabled.
    "distributed.worker.profile.enabled": False,
    # Time without a message after which a worker counts as lost, e.g. because its machine hangs.
    "distributed.scheduler.worker-ttl": "60s",
    # The number of workers that may die during a job before the job fails.
    "distributed.scheduler.allowed-failures": 2,
    "distributed.comm.timeouts.connect": "10s",
    "distributed.comm.timeouts.tcp": "30s",
}


def configure_dask() -> None:
    """Configure Dask in this process.

    Raises:
        MachineError: It is not installed.
    """
    try:
        import dask
        import distributed  # noqa: F401 (a check that it is installed)
    except ImportError as error:
        raise MachineError(
            "a farm requires Dask's distributed, which is not installed here "
            f"({words.reason(error)})",
            advice=[extras.install_command("farm")],
        ) from None
    from rezbuild.farm import restricted_pickle

    dask.config.set(_CONFIG)
    # Silence Dask's own messages: rezbuild prints what users must know.
    for name in (*logging.root.manager.loggerDict, "distributed", "tornado"):
        if name.partition(".")[0] in {"distributed", "tornado"}:
            logging.getLogger(name).setLevel(logging.CRITICAL)
    restricted_pickle.restrict()


def no_answer(address: str, why: str, *more: str) -> MachineError:
    """Return the error of a scheduler that does not answer; ``more`` is more advice."""
    return MachineError(
        f"no scheduler answers at {address}: {why}",
        advice=["start one there: rezbuild scheduler", *more],
    )


def security(settings: Settings, host: str) -> Security | None:
    """Return the certificates of connections; None if every user who reaches the port may connect.

    With the three files of TLS, each side has a certificate of the same authority. Without them,
    processes of one user on loopback share a secret.

    Args:
        settings: The files of TLS.
        host: The address of the scheduler.

    Raises:
        UsageError: Only some of the three files are set.
        MachineError: A file cannot be read.
    """
    files = {
        "REZBUILD_FARM_CA": settings.farm_ca,
        "REZBUILD_FARM_CERT": settings.farm_cert,
        "REZBUILD_FARM_KEY": settings.farm_key,
    }
    missing = [name for name, file in files.items() if file is None]
    if len(missing) == len(files):
        return secret.security() if is_loopback(host) and not settings.farm_open else None
    if missing:
        raise UsageError(
            f"TLS requires three files, but {', '.join(missing)} is not set",
            advice=["create the files as in docs/how-to/farm.md, and set all three variables"],
        )
    return secret.make_security(*(_readable(name, file) for name, file in files.items()))


def _readable(name: str, file: Path | None) -> str:
    try:
        Path(str(file)).read_bytes()
    except OSError as error:
        raise MachineError(
            f"{name}={file} cannot be read: {error.strerror}",
            advice=["set it to a file as in docs/how-to/farm.md"],
        ) from None
    return str(file)


def resolve_address(
    address: str, settings: Settings, say: Callable[[str], None]
) -> tuple[str, Security | None]:
    """Return a scheduler's address for Dask, and the certificates for the connection.

    Raises:
        UsageError: The address is invalid, or does not match the settings.
        MachineError: A file of TLS cannot be read.
    """
    kind, _, rest = address.partition("://")
    found = security(settings, rest.rpartition(":")[0])
    if found is not None and kind == "tcp" and settings.farm_ca is None:
        address = f"tls://{rest}"
    return check_address(address, found is not None, say), found


def check_address(address: str, safe: bool, say: Callable[[str], None]) -> str:
    """Check a scheduler's address, and return it.

    Args:
        address: The address, e.g. ``tcp://host:8786``.
        safe: Whether the connection has certificates.
        say: Prints a warning if other users can connect.

    Raises:
        UsageError: The address is invalid, or does not match the certificates.
    """
    scheme, _, rest = address.partition("://")
    host, colon, port = rest.rpartition(":")
    if scheme not in {"tcp", "tls"} or not (host and colon and port.isdecimal()):
        raise UsageError(
            f"invalid address of a scheduler {address!r}",
            advice=["write it as tcp://host:8786, or tls://host:8786"],
        )
    if (scheme == "tls") != safe:
        raise UsageError(
            f"{address} is {'with' if scheme == 'tls' else 'without'} TLS, but "
            f"REZBUILD_FARM_CA, _CERT and _KEY are {'set' if safe else 'not set'}",
            advice=["use both tls:// and the three files, or neither"],
        )
    warn_if_open(host, safe, say)
    return address


def warn_if_open(host: str, safe: bool, say: Callable[[str], None]) -> None:
    """Warn a user who listens or connects without TLS."""
    if not safe and is_loopback(host):
        say(
            f"notice: {host} with REZBUILD_FARM_OPEN: every user of this machine may run code as "
            "the user of the workers (docs/explanation/farm.md, What is trusted)"
        )
    elif not safe:
        say(
            f"notice: {host} without TLS: everyone who reaches the farm's ports may build payloads "
            "and read or change messages (docs/explanation/farm.md, What is trusted)"
        )


def check_host(host: str, scheduler: str) -> None:
    """Check that the scheduler can reach a worker.

    Args:
        host: The address that the worker listens on.
        scheduler: The address of its scheduler, checked by `check_address`.

    Raises:
        UsageError: The worker listens on loopback, and the scheduler is on another machine.
    """
    if is_loopback(host) and not is_loopback(scheduler.partition("://")[2].rpartition(":")[0]):
        raise UsageError(
            f"a worker that listens on {host} cannot be reached from {scheduler}, which must "
            "fetch its results",
            advice=[
                "set up TLS as in docs/how-to/farm.md: all users can reach the ports",
                "name this machine's address on that network, e.g. --host 10.0.0.7",
            ],
        )


def is_loopback(host: str) -> bool:
    """Return whether an address or a name means this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
