"""Real signatures of real upstreams, and each kind that must be refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from openpgp import Signer

from rezbuild.catalogue.model import Signed
from rezbuild.errors import CatalogueError, MachineError, SignatureError
from rezbuild.plan import resolve
from rezbuild.util import extras
from rezbuild.versions import signatures

ROOT = Path(__file__).parents[3]
REAL = ROOT / "tests/data/signatures"
# A wheel of a package index, and the bundle of its release workflow.
WHEEL = REAL / "rfc8785-0.1.2-py3-none-any.whl"
BUNDLE = REAL / f"{WHEEL.name}.sigstore"
WORKFLOW = (
    "https://github.com/trailofbits/rfc8785.py/.github/workflows/release.yml@refs/tags/v0.1.2"
)
ISSUER = "https://token.actions.githubusercontent.com"


@pytest.fixture(scope="module")
def signer() -> Iterator[Signer]:
    signer = Signer()
    yield signer
    signer.close()


@pytest.fixture(scope="module")
def upstream(signer: Signer) -> str:
    """Return the pinned key."""
    return signer.key("upstream")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "thing-1.0.tar.gz"
    path.write_bytes(b"the bytes of an archive")
    return path


def verify(archive: Path, signature: bytes, *keys: Path) -> str:
    path = archive.with_name(f"{archive.name}.asc")
    path.write_bytes(signature)
    return str(signatures.check(archive, path, Signed(".asc", keys)))


def verify_error(archive: Path, signature: bytes, *keys: Path) -> str:
    with pytest.raises(SignatureError) as error:
        verify(archive, signature, *keys)
    assert error.value.exit_code == 5
    assert "do not use these bytes" in str(error.value)
    assert "Stack" not in str(error.value)
    return str(error.value)


def test_good_signature_is_accepted(signer, upstream, archive, tmp_path):
    other = signer.export(signer.key("colleague"), tmp_path)
    said = verify(archive, signer.sign(archive, upstream), other, signer.export(upstream, tmp_path))
    assert said.startswith(f"signed by {upstream} on 20")


def test_tampered_archive_is_refused(signer, upstream, archive, tmp_path):
    key, signature = signer.export(upstream, tmp_path), signer.sign(archive, upstream)
    archive.write_bytes(archive.read_bytes().replace(b"archive", b"Archive"))
    assert f"claimed: by {upstream}" in verify_error(archive, signature, key)


def test_signature_of_another_file_is_refused(signer, upstream, archive, tmp_path):
    other = tmp_path / "thing-1.1.tar.gz"
    other.write_bytes(b"other bytes")
    signature = signer.sign(other, upstream)
    verify_error(archive, signature, signer.export(upstream, tmp_path))


def test_unpinned_key_is_refused(signer, upstream, archive, tmp_path):
    stranger = signer.key("stranger")
    said = verify_error(archive, signer.sign(archive, stranger), signer.export(upstream, tmp_path))
    assert f"by {stranger}" in said
    assert f"pinned: {upstream}" in said


def test_signature_after_key_expiry_is_refused(signer, archive, tmp_path):
    """A signature from before the expiry stays valid, because old archives have old signatures."""
    old = signer.key("old", expires="20210101T000000", at="20200101T000000")
    key = signer.export(old, tmp_path)
    assert "2020-06-01" in verify(archive, signer.sign(archive, old, at="20200601T000000"), key)
    # Its owner has extended the key, but not in the pinned copy.
    signer.gpg("--quick-set-expire", old, "0", at="20201201T000000")
    said = verify_error(archive, signer.sign(archive, old, at="20220101T000000"), key)
    assert f"{old}, which expires on 2021-01-01" in said
    prolonged = signer.export(old, tmp_path / "anew")
    assert "2022-01-01" in verify(
        archive, signer.sign(archive, old, at="20220101T000000"), prolonged
    )


def test_revoked_key_is_refused(signer, archive, tmp_path):
    lost = signer.key("lost")
    signature = signer.sign(archive, lost)
    verify(archive, signature, signer.export(lost, tmp_path))
    signer.revoke(lost)
    assert "which is revoked" in verify_error(archive, signature, signer.export(lost, tmp_path))


@pytest.mark.parametrize(("digest", "shown"), [("SHA1", "SHA1"), ("RIPEMD160", "RipeMD")])
def test_weak_signature_is_refused(signer, upstream, archive, tmp_path, digest, shown):
    signature = signer.sign(archive, upstream, digest=digest)
    said = verify_error(archive, signature, signer.export(upstream, tmp_path))
    assert f"with {shown}" in said


def test_weak_key_is_refused(signer, archive, tmp_path):
    weak = signer.key("weak", kind="rsa1024")
    verify_error(archive, signer.sign(archive, weak), signer.export(weak, tmp_path))


def test_damaged_signature_is_refused(signer, upstream, archive, tmp_path):
    key, signature = signer.export(upstream, tmp_path), signer.sign(archive, upstream)
    for end in range(0, len(signature) - 40, 37):
        verify_error(archive, signature[:end], key)
    for odd in (b"", b"\0" * 300, b"<html>", bytes(range(256))):
        assert "does not contain an OpenPGP signature" in verify_error(archive, odd, key)


def test_signed_message_is_refused(signer, upstream, archive, tmp_path):
    """The message is valid, but does not sign the archive."""
    message = signer.gpg("--armor", "--local-user", upstream, "--sign", text="anything")
    verify_error(archive, message, signer.export(upstream, tmp_path))


def test_key_under_another_name_is_refused(signer, upstream, archive, tmp_path):
    key = signer.export(upstream, tmp_path)
    wrong = key.rename(tmp_path / f"{'A' * 40}.asc")
    signature = signer.sign(archive, upstream)
    with pytest.raises(CatalogueError, match="another key than its name says"):
        verify(archive, signature, wrong)
    wrong.write_text("no key")
    with pytest.raises(CatalogueError, match="does not contain an OpenPGP key"):
        verify(archive, signature, wrong)


def test_keys_of_the_catalogue_match_their_names():
    """Each file contains the key of its name, and a recipe uses it."""
    recipes = resolve.recipes(ROOT / "packages").values()
    pinned = {
        key
        for recipe in recipes
        for release in recipe.releases.values()
        for key in (release.signed.keys if release.signed else ())
    }
    assert pinned == set((ROOT / "packages").glob("*/keys/*"))
    for path in pinned:
        assert signatures._key(path).fingerprint.upper() == path.stem


def test_real_weak_signature_is_refused(archive):
    """The signature of gdbm uses SHA-1, by a key that is itself signed with SHA-1."""
    key = REAL / "325F650C4C2B6AD58807327A3602B07F55D0C732.asc"
    said = verify_error(archive, (REAL / "gdbm-1.24.tar.gz.sig").read_bytes(), key)
    assert "with SHA1" in said
    assert "which is too weak" in said


def sigstore(identity: str = WORKFLOW, issuer: str = ISSUER) -> Signed:
    return Signed(".sigstore", (), identity, issuer)


def test_real_sigstore_bundle_is_accepted():
    said = signatures.check(WHEEL, BUNDLE, sigstore())
    assert str(said) == f"signed by {WORKFLOW} (according to {ISSUER}) on 2024-03-19"


@pytest.mark.parametrize(
    "signed",
    [
        sigstore(identity="somebody@example.invalid"),
        sigstore(identity=WORKFLOW.replace("v0.1.2", "v0.1.3")),
        sigstore(issuer="https://accounts.example.invalid"),
    ],
)
def test_bundle_of_another_identity_is_refused(signed):
    with pytest.raises(SignatureError, match=f"pinned: {signed.identity} by {signed.issuer}"):
        signatures.check(WHEEL, BUNDLE, signed)


def test_bundle_of_other_bytes_is_refused(tmp_path):
    other = tmp_path / WHEEL.name
    other.write_bytes(WHEEL.read_bytes() + b"\0")
    with pytest.raises(SignatureError, match="is not a valid signature"):
        signatures.check(other, BUNDLE, sigstore())


def test_damaged_bundle_is_refused(tmp_path):
    path, whole = tmp_path / "bundle", BUNDLE.read_bytes()
    odd = [b"", b"{}", b"null", b"\xff" * 9, whole[: len(whole) // 2], b'{"mediaType": 1}']
    # Damage in the certificate, the log entry and the signature.
    odd += [whole[:at] + b"AAAAAAAA" + whole[at + 8 :] for at in range(120, len(whole) - 60, 700)]
    for data in odd:
        path.write_bytes(data)
        with pytest.raises(SignatureError):
            signatures.check(WHEEL, path, sigstore())


def test_missing_libraries_are_reported(monkeypatch, archive, tmp_path):
    for library in ("pysequoia", "sigstore", "sigstore.errors"):
        monkeypatch.setitem(sys.modules, library, None)
    for library, signed in (
        ("pysequoia", Signed(".asc", (tmp_path / "key",))),
        ("sigstore", sigstore()),
    ):
        with pytest.raises(MachineError, match=f"{library}, .* is not installed") as caught:
            signatures.check(archive, archive, signed)
        assert caught.value.advice == (f"run {extras.install_command('signatures')}",)
