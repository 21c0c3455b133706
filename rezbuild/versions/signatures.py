"""Whether upstream has signed an archive: OpenPGP and Sigstore, by the keys of the catalogue.

Nothing is asked of a key server or a web of trust: the keys stand in the recipe's folder, and what
Sigstore vouches with comes with its library.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rezbuild.catalogue.sources_toml import Signed
from rezbuild.errors import CatalogueError, MachineError, SignatureError
from rezbuild.util import extras
from rezbuild.util.terminal import printable_line

if TYPE_CHECKING:
    from pysequoia import Cert, Sig

_REFUSED = (
    "do not use these bytes: this is what a forged archive looks like",
    "where upstream's page says that its key was prolonged or changed: docs/how-to/security.md",
)


@dataclass(frozen=True)
class Verified:
    """A good signature.

    Attributes:
        by: The signer, for the user.
        on: The day when it was made, as 2026-11-28; "" where it does not say.
    """

    by: str
    on: str

    def __str__(self) -> str:
        return f"signed by {self.by}" + (f" on {self.on}" if self.on else "")


def check(archive: Path, signature: Path, signed: Signed) -> Verified:
    """Verifies a detached signature.

    Args:
        archive: The file that is said to be signed.
        signature: As upstream publishes it.
        signed: By whom it has to be.

    Raises:
        SignatureError: None of those has signed these bytes, or in a way that proves nothing.
        CatalogueError: A pinned key is not what its name says.
        MachineError: The library for it is not installed.
    """
    if signed.keys:
        return _openpgp(archive, signature, signed)
    return _sigstore(archive, signature, signed)


def _openpgp(archive: Path, signature: Path, signed: Signed) -> Verified:
    """By the standard policy of Sequoia: no MD5 nor SHA-1, no key of 1024 bits.

    A key must have been valid when it signed, not today: old archives have old signatures.
    """
    try:
        import pysequoia
    except ImportError:
        raise _lacks("pysequoia", "OpenPGP signatures") from None
    keys = [_key(path) for path in signed.keys]
    try:
        read = pysequoia.Sig.from_bytes(signature.read_bytes())
    except RuntimeError:
        raise SignatureError(
            f"{signature.name} holds no OpenPGP signature", advice=_REFUSED
        ) from None
    try:
        done = pysequoia.verify(file=str(archive), store=lambda _: keys, signature=read)
    except RuntimeError:
        raise SignatureError(
            f"{signature.name} proves nothing of {archive.name}",
            tried=[_made(read), *(f"pinned: {_state(key)}" for key in keys)],
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
            f"{path} holds no OpenPGP key", advice=["export one: gpg --armor --export FINGERPRINT"]
        ) from None
    if key.fingerprint.upper() != path.stem:
        raise CatalogueError(
            f"{path} holds another key than its name says: {key.fingerprint.upper()}",
            advice=["a key's file is named by its fingerprint"],
        )
    return key


def _state(key: Cert) -> str:
    name = key.fingerprint.upper()
    try:
        revoked, expires = key.is_revoked, key.expiration
    except RuntimeError:  # what it says of itself is signed with SHA-1
        return f"{name}, which is too weak"
    if revoked:
        return f"{name}, which is revoked"
    return f"{name}, which expires on {expires:%Y-%m-%d}" if expires else name


def _made(signature: Sig) -> str:
    """What a signature says of itself, which proves nothing."""
    who = signature.issuer_fingerprint or signature.issuer_key_id or "nobody"
    algorithm = str(signature.hash_algorithm).rpartition(".")[2]
    return printable_line(f"it says: by {who.upper()}{_when(signature)}, with {algorithm}")


def _when(signature: Sig) -> str:
    return f" on {signature.created:%Y-%m-%d}" if signature.created else ""


def _sigstore(archive: Path, signature: Path, signed: Signed) -> Verified:
    """A bundle by itself: certificate, signature, and the log's promise; no network."""
    try:
        from sigstore.errors import Error
        from sigstore.models import Bundle
        from sigstore.verify import Verifier
        from sigstore.verify.policy import Identity
    except ImportError:
        raise _lacks("sigstore", "Sigstore bundles") from None
    try:
        bundle = Bundle.from_json(signature.read_bytes())
        policy = Identity(identity=signed.identity, issuer=signed.issuer)
        Verifier.production(offline=True).verify_artifact(archive.read_bytes(), bundle, policy)
    except (Error, ValueError) as error:
        said = str(error).partition("\n")[0]
        raise SignatureError(
            f"{signature.name} proves nothing of {archive.name}: {printable_line(said)}",
            tried=[f"pinned: {signed.identity} by {signed.issuer}"],
            advice=_REFUSED,
        ) from None
    # The certificate is made for this signature, and is valid for minutes.
    on = bundle.signing_certificate.not_valid_before_utc
    return Verified(f"{signed.identity}, as {signed.issuer} says,", f"{on:%Y-%m-%d}")


def _lacks(library: str, what: str) -> MachineError:
    return MachineError(
        f"{library}, which verifies {what}, is not installed",
        advice=[extras.install_command("signatures")],
    )
