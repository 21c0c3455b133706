"""Verification of upstream's signatures: OpenPGP and Sigstore, with the keys of the catalogue.

No key server and no web of trust is used. The OpenPGP keys are in the recipe's folder, and
Sigstore's library contains its root of trust.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rezbuild.catalogue.model import Signed
from rezbuild.errors import CatalogueError, MachineError, SignatureError
from rezbuild.util import extras, words
from rezbuild.util.terminal import printable_line

if TYPE_CHECKING:
    from pysequoia import Cert, Sig

_REFUSED = (
    "do not use these bytes: the archive may be forged",
    "if upstream's page says that its key was extended or changed, see docs/how-to/security.md",
)


@dataclass(frozen=True)
class Verified:
    """A valid signature.

    Attributes:
        by: The signer, for the user.
        on: The day of the signature, e.g. ``2026-11-28``, or "" if unknown.
    """

    by: str
    on: str

    def __str__(self) -> str:
        return f"signed by {self.by}" + (f" on {self.on}" if self.on else "")


def check(archive: Path, signature: Path, signed: Signed) -> Verified:
    """Verify a detached signature.

    Args:
        archive: The signed file.
        signature: The signature as upstream publishes it.
        signed: The accepted signers.

    Raises:
        SignatureError: No accepted signer signed these bytes, or the signature is too weak.
        CatalogueError: A pinned key is not the one that its file name says.
        MachineError: The library for the signature is not installed.
    """
    if signed.keys:
        return _openpgp(archive, signature, signed)
    return _sigstore(archive, signature, signed)


def _openpgp(archive: Path, signature: Path, signed: Signed) -> Verified:
    """Verify by Sequoia's standard policy, which refuses MD5, SHA-1 and keys of 1024 bits.

    A key must have been valid when it signed, not today: old archives have old signatures.
    """
    try:
        import pysequoia
    except ImportError:
        raise _missing_library("pysequoia", "OpenPGP signatures") from None
    keys = [_key(path) for path in signed.keys]
    try:
        read = pysequoia.Sig.from_bytes(signature.read_bytes())
    except RuntimeError:
        raise SignatureError(
            f"{signature.name} does not contain an OpenPGP signature", advice=_REFUSED
        ) from None
    try:
        done = pysequoia.verify(file=str(archive), store=lambda _: keys, signature=read)
    except RuntimeError:
        raise SignatureError(
            f"{signature.name} is not a valid signature of {archive.name}",
            tried=[_claim(read), *(f"pinned: {_state(key)}" for key in keys)],
            advice=_REFUSED,
        ) from None
    by = ", ".join(str(found.certificate).upper() for found in done.valid_sigs)
    return Verified(by, f"{read.created:%Y-%m-%d}" if read.created else "")


def _key(path: Path) -> Cert:
    from pysequoia import Cert

    try:
        key = Cert.from_file(str(path))
    except RuntimeError:
        raise CatalogueError(
            f"{path} does not contain an OpenPGP key",
            advice=["export it: gpg --armor --export FINGERPRINT"],
        ) from None
    if key.fingerprint.upper() != path.stem:
        raise CatalogueError(
            f"{path} contains another key than its name says: {key.fingerprint.upper()}",
            advice=["name the file of a key by its fingerprint"],
        )
    return key


def _state(key: Cert) -> str:
    name = key.fingerprint.upper()
    try:
        revoked, expires = key.is_revoked, key.expiration
    except RuntimeError:  # the key's signature of itself uses SHA-1
        return f"{name}, which is too weak"
    if revoked:
        return f"{name}, which is revoked"
    return f"{name}, which expires on {expires:%Y-%m-%d}" if expires else name


def _claim(signature: Sig) -> str:
    """Return the unverified claims of a signature."""
    signer = signature.issuer_fingerprint or signature.issuer_key_id or "nobody"
    algorithm = str(signature.hash_algorithm).rpartition(".")[2]
    return printable_line(f"claimed: by {signer.upper()}{_when(signature)}, with {algorithm}")


def _when(signature: Sig) -> str:
    return f" on {signature.created:%Y-%m-%d}" if signature.created else ""


def _sigstore(archive: Path, signature: Path, signed: Signed) -> Verified:
    """Verify a bundle offline: certificate, signature and the log's promise of inclusion."""
    try:
        from sigstore.errors import Error
        from sigstore.models import Bundle
        from sigstore.verify import Verifier
        from sigstore.verify.policy import Identity
    except ImportError:
        raise _missing_library("sigstore", "Sigstore bundles") from None
    try:
        bundle = Bundle.from_json(signature.read_bytes())
        policy = Identity(identity=signed.identity, issuer=signed.issuer)
        Verifier.production(offline=True).verify_artifact(archive.read_bytes(), bundle, policy)
    except (Error, ValueError) as error:
        reason = printable_line(words.reason(error).partition("\n")[0])
        raise SignatureError(
            f"{signature.name} is not a valid signature of {archive.name}: {reason}",
            tried=[f"pinned: {signed.identity} by {signed.issuer}"],
            advice=_REFUSED,
        ) from None
    # The certificate was made for this signature, and was valid for minutes.
    on = bundle.signing_certificate.not_valid_before_utc
    return Verified(f"{signed.identity} (according to {signed.issuer})", f"{on:%Y-%m-%d}")


def _missing_library(library: str, purpose: str) -> MachineError:
    return MachineError(
        f"{library}, which verifies {purpose}, is not installed",
        advice=[f"run {extras.install_command('signatures')}"],
    )
