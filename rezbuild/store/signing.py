"""Signatures of entries: Ed25519 keys (RFC 8032) in PEM files, by the library cryptography.

openssl genpkey -algorithm ed25519 -out store.key
openssl pkey -in store.key -pubout -out store.pub
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from rezbuild.errors import MachineError, StoreError
from rezbuild.util import extras

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )


class Signer:
    """Signs with a private key.

    Args:
        file: The key in PEM, without a password.

    Raises:
        MachineError: The key cannot be read, or the library is not installed.
    """

    def __init__(self, file: Path) -> None:
        self._key = _private(file)

    def trust(self) -> Trust:
        """Return trust in this key alone."""
        return Trust([], [self._key.public_key()])

    def key_id(self) -> str:
        """Return the SHA-256 of the public key in DER (RFC 8410)."""
        serialization = _library().serialization
        der = self._key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return hashlib.sha256(der).hexdigest()

    def sign(self, data: bytes) -> str:
        """Return the signature in base64."""
        return base64.b64encode(self._key.sign(data)).decode("ascii")


class Trust:
    """A set of trusted keys.

    Args:
        files: Public keys in PEM.
        keys: Further public keys.

    Raises:
        MachineError: A key cannot be read, or the library is not installed.
    """

    def __init__(self, files: Sequence[Path], keys: Sequence[Ed25519PublicKey] = ()) -> None:
        self._keys = [*keys, *(_public(file) for file in files)]

    def check(self, data: bytes, signature: str) -> None:
        """Check that one of the keys has signed.

        Raises:
            StoreError: None has.
        """
        from cryptography.exceptions import InvalidSignature

        if not signature:
            raise StoreError("the entry has no signature")
        for key in self._keys:
            try:
                key.verify(base64.b64decode(signature, validate=True), data)
            except (InvalidSignature, binascii.Error):
                continue
            return
        raise StoreError("no trusted key has signed the entry")


def _private(file: Path) -> Ed25519PrivateKey:
    library, name = _library(), "REZBUILD_STORE_SIGN"
    try:
        key = library.serialization.load_pem_private_key(_read(file, name), password=None)
    except (ValueError, TypeError, library.unsupported):  # a TypeError: it has a password
        key = None
    if not isinstance(key, library.ed25519.Ed25519PrivateKey):
        raise _unfit(file, name, "openssl genpkey -algorithm ed25519 -out FILE")
    return cast("Ed25519PrivateKey", key)


def _public(file: Path) -> Ed25519PublicKey:
    library, name = _library(), "REZBUILD_STORE_TRUST"
    try:
        key = library.serialization.load_pem_public_key(_read(file, name))
    except (ValueError, library.unsupported):
        key = None
    if not isinstance(key, library.ed25519.Ed25519PublicKey):
        raise _unfit(file, name, "openssl pkey -in PRIVATE -pubout -out FILE")
    return cast("Ed25519PublicKey", key)


class _Library(NamedTuple):
    ed25519: Any
    serialization: Any
    unsupported: type[Exception]


def _library() -> _Library:
    """Import the library, which is an extra, when a key is set."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise MachineError(
            "REZBUILD_STORE_SIGN and REZBUILD_STORE_TRUST require the library cryptography",
            advice=[extras.install_command("signatures")],
        ) from None
    return _Library(ed25519, serialization, UnsupportedAlgorithm)


def _read(file: Path, name: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise MachineError(
            f"{name}: {file} cannot be read: {error.strerror}",
            advice=[f"set {name} to an existing file, or unset it"],
        ) from None


def _unfit(file: Path, name: str, command: str) -> MachineError:
    return MachineError(
        f"{name}: {file} holds no Ed25519 key in PEM, or one with a password",
        advice=[f"create a key: {command}"],
    )
