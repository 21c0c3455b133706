"""What the three parts of a farm have in common when they talk: addresses, TLS, Dask's settings."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rezbuild.errors import MachineError, UsageError
from rezbuild.farm import secret
from rezbuild.settings import Settings
from rezbuild.util import extras

if TYPE_CHECKING:
    from distributed.security import Security

_CONFIG = {
    # It looks at all threads each 10 ms, for a dashboard that is not there.
    "distributed.worker.profile.enabled": False,
    # Seconds without a word after which a worker is taken for dead: its machine hangs.
    "distributed.scheduler.worker-ttl": "60s",
    # Workers that may die of a job before it is given up.
    "distributed.scheduler.allowed-failures": 2,
    "distributed.comm.timeouts.connect": "10s",
    "distributed.comm.timeouts.tcp": "30s",
}


def prepare() -> None:
    """Makes Dask ready in this process.

    Raises:
        MachineError: It is not installed.
    """
    try:
        import dask
        import distributed  # noqa: F401 (see above)
    except ImportError as error:
        raise MachineError(
            f"a farm needs Dask's distributed, which is not installed here ({error})",
            advice=[extras.install_command("farm")],
        ) from None
    from rezbuild.farm import restricted_pickle

    dask.config.set(_CONFIG)
    # What a user has to know is said in words of ours.
    for name in (*logging.root.manager.loggerDict, "distributed", "tornado"):
        if name.partition(".")[0] in {"distributed", "tornado"}:
            logging.getLogger(name).setLevel(logging.CRITICAL)
    restricted_pickle.restrict()


def security(settings: Settings, host: str) -> Security | None:
    """Return who may talk to whom, or None: everybody who reaches the port.

    With the three files of TLS, each side has a certificate by the same authority. Without them,
    ports on loopback are for processes of the same user: they share a secret of that user's.

    Args:
        settings: Name the files.
        host: The address of the scheduler.

    Raises:
        UsageError: Only some of the three files are named.
        MachineError: One of them cannot be read.
    """
    from distributed.security import Security

    files = {
        "REZBUILD_FARM_CA": settings.farm_ca,
        "REZBUILD_FARM_CERT": settings.farm_cert,
        "REZBUILD_FARM_KEY": settings.farm_key,
    }
    missing = [name for name, file in files.items() if file is None]
    if len(missing) == len(files):
        return secret.security() if loopback(host) and not settings.farm_open else None
    if missing:
        raise UsageError(
            f"TLS needs three files, and {', '.join(missing)} is not set",
            advice=["docs/how-to/farm.md says how they are made"],
        )
    ca, cert, key = (_readable(name, file) for name, file in files.items())
    roles = {f"tls_{role}_cert": cert for role in ("client", "scheduler", "worker")}
    roles |= {f"tls_{role}_key": key for role in ("client", "scheduler", "worker")}
    return Security(require_encryption=True, tls_ca_file=ca, **roles)


def _readable(name: str, file: Path | None) -> str:
    try:
        Path(str(file)).read_bytes()
    except OSError as error:
        raise MachineError(
            f"{name}={file} cannot be read: {error.strerror}", advice=["docs/how-to/farm.md: TLS"]
        ) from None
    return str(file)


def connection(
    address: str, settings: Settings, say: Callable[[str], None]
) -> tuple[str, Security | None]:
    """Return a scheduler's address as Dask takes it, and who may talk to whom.

    Raises:
        UsageError: It is no address, or does not go with the settings.
        MachineError: A file of TLS cannot be read.
    """
    kind, _, rest = address.partition("://")
    found = security(settings, rest.rpartition(":")[0])
    if found is not None and kind == "tcp" and settings.farm_ca is None:
        address = f"tls://{rest}"
    return check_address(address, found is not None, say), found


def check_address(address: str, safe: bool, say: Callable[[str], None]) -> str:
    """The address of a scheduler as Dask takes it.

    Args:
        address: As in ``tcp://host:8786``.
        safe: The three files of TLS are there.
        say: Is told what anybody on the network could do.

    Raises:
        UsageError: It is none, or it does not go with the files.
    """
    scheme, _, rest = address.partition("://")
    host, colon, port = rest.rpartition(":")
    if scheme not in {"tcp", "tls"} or not (host and colon and port.isdecimal()):
        raise UsageError(
            f"{address!r} is no address of a scheduler",
            advice=["write it as in tcp://host:8786, or tls://host:8786"],
        )
    if (scheme == "tls") != safe:
        raise UsageError(
            f"{address} goes {'with' if scheme == 'tls' else 'without'} TLS, and "
            f"REZBUILD_FARM_CA, _CERT and _KEY are {'set' if safe else 'not set'}",
            advice=["use tls:// and the three files, or neither"],
        )
    tell_if_open(host, safe, say)
    return address


def tell_if_open(host: str, safe: bool, say: Callable[[str], None]) -> None:
    """Tell a user who listens, or talks, without TLS."""
    if not safe and loopback(host):
        say(
            f"notice: {host} with REZBUILD_FARM_OPEN: every user of this machine may run code as "
            "the user of the workers (docs/explanation/farm.md, What is trusted)"
        )
    elif not safe:
        say(
            f"notice: {host} without TLS: whoever reaches the farm's ports may have payloads built "
            "and read or change what travels (docs/explanation/farm.md, What is trusted)"
        )


def check_host(host: str, scheduler: str) -> None:
    """Sees that what listens at an address can be reached from where its scheduler is.

    Args:
        host: Where a worker listens.
        scheduler: The address of its scheduler, as `check_address` takes it.

    Raises:
        UsageError: It listens on this machine alone, and the scheduler is on another one.
    """
    if loopback(host) and not loopback(scheduler.partition("://")[2].rpartition(":")[0]):
        raise UsageError(
            f"a worker that listens on {host} cannot be reached from {scheduler}: its results "
            "could not be fetched",
            advice=[
                "--host names this machine's address on that network, as in --host 10.0.0.7",
                "set up TLS first, as docs/how-to/farm.md shows: ports are open to everybody",
            ],
        )


def loopback(host: str) -> bool:
    """Whether an address or a name means this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
