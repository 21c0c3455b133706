"""Keys for the signatures of a store's entries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519


class SigningMachine:
    """A machine that has a key pair."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.private, self.public = folder / "store.key", folder / "store.pub"
        key = ed25519.Ed25519PrivateKey.generate()
        self.private.write_bytes(private(key))
        self.public.write_bytes(
            key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )


def private(key: Any, password: bytes = b"") -> bytes:
    locked = serialization.BestAvailableEncryption(password) if password else None
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        locked or serialization.NoEncryption(),
    )
