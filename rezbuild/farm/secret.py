"""The secret of one user's farm on loopback, which gives access to the farm's ports.

Every user of a machine can reach its loopback ports. So scheduler, workers and clients of a user
talk
TLS with one certificate, whose key only that user can read. It is created on first use.
"""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from rezbuild.errors import MachineError
from rezbuild.files import locks, safe_files

if TYPE_CHECKING:
    from distributed.security import Security

FILE = "farm-secret.json"
# Days. Dask's certificates are valid for 365.
_RENEWED = 300
_MOST = 100_000


def folder() -> Path:
    """Return the folder of the secret, which belongs to the user and not to a cache."""
    return Path(platformdirs.user_state_dir("rezbuild"))


def security() -> Security:
    """Return the certificate that lets processes of this user, and of no other user, connect.

    Raises:
        MachineError: The secret cannot be written, or others can read it.
    """
    try:
        folder().mkdir(parents=True, exist_ok=True, mode=0o700)
        with locks.open_lock(folder() / f"{FILE}.lock", print):
            key, certificate = _read(folder() / FILE) or _make(folder() / FILE)
    except OSError as error:
        raise MachineError(
            f"the secret of this user's farm, {folder() / FILE}, cannot be used: {error.strerror}",
            advice=[
                "remove it, or set XDG_STATE_HOME to a folder that belongs to you",
                "or let every user of this machine use the farm: set REZBUILD_FARM_OPEN=1",
            ],
        ) from None
    return make_security(certificate, certificate, key)


def make_security(ca: str, certificate: str, key: str) -> Security:
    """Return Dask's settings for TLS, with one certificate for all roles."""
    from distributed.security import Security

    roles = ("client", "scheduler", "worker")
    files = {f"tls_{role}_cert": certificate for role in roles}
    files |= {f"tls_{role}_key": key for role in roles}
    return Security(require_encryption=True, tls_ca_file=ca, **files)


def _read(file: Path) -> tuple[str, str] | None:
    """Return key and certificate; None if there is none that stays valid for long."""
    try:
        status = file.lstat()
    except FileNotFoundError:
        return None
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise MachineError(
            f"other users can read {file}, the secret of this user's farm",
            advice=["remove it; rezbuild creates a new one"],
        )
    if time.time() - status.st_mtime > _RENEWED * 86400:
        return None
    try:
        key, certificate = json.loads(safe_files.read(file, _MOST))
    except (ValueError, TypeError, RecursionError):
        return None
    return str(key), str(certificate)


def _make(file: Path) -> tuple[str, str]:
    from distributed.security import Security

    try:
        made = Security.temporary()
    except ImportError:
        raise MachineError(
            "a farm on loopback requires the library cryptography",
            advice=["install it with the Python that runs Rez: pip install cryptography"],
        ) from None
    key, certificate = made.tls_scheduler_key, made.tls_scheduler_cert
    safe_files.replace(file, json.dumps([key, certificate]).encode(), 0o600)
    return key, certificate
