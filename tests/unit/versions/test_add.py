"""``rezbuild add-version`` with real servers, real keys and typical catalogues."""

from __future__ import annotations

import hashlib
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_server import Answer
from upstream import BODY, ENTRY, OTHER, SHA256, TEXT, archive, signer, upstream

from rezbuild.catalogue import sources_toml
from rezbuild.errors import CatalogueError, ChecksumError, FetchError, SignatureError, UsageError
from rezbuild.util import toml
from rezbuild.versions import add as pin

# fixtures
__all__ = ["signer", "upstream"]


def test_signed_version_is_added(upstream):
    upstream.serve("1.2.1")
    before = upstream.path.read_text()
    changed = upstream.add("1.2.1")
    release = sources_toml.load(upstream.folder).release("1.2.1")
    assert (release.archives[0].sha256, release.archives[0].size) == (SHA256, len(BODY))
    # The values of a neighbor of the same series apply too; the distribution's
    # file does not.
    assert (release.license, release.requires) == ("Apache-2.0", ("other-1",))
    assert release.archives[0].debian is None
    assert any(f"signed by {upstream.key}" in line for line in upstream.lines)
    # The entry is between its neighbors, and nothing else has changed.
    after = upstream.path.read_text()
    assert [line for line in changed.splitlines() if line[:1] == "-"][1:] == []
    added = [line[1:] for line in changed.splitlines() if line[:1] == "+"][1:]
    assert after == before.replace("# the next one\n", "\n".join([*added, "# the next one\n"]))
    # The next fetch needs no network.
    assert (upstream.cache / "sources/thing/thing-1.2.1.tar.gz").read_bytes() == BODY


def test_printed_diff_applies_with_patch(upstream):
    upstream.serve("1.0.10")
    before = upstream.path.read_bytes()
    changed = upstream.add("1.0.10", dry_run=True)
    assert upstream.path.read_bytes() == before
    assert not list(upstream.cache.rglob("*.gz"))
    root = upstream.folder.parents[1]
    subprocess.run(["patch", "-p1", "--fuzz=0"], input=changed.encode(), cwd=root, check=True)
    (root / "packages/thing/sources.toml.orig").unlink(missing_ok=True)
    assert sources_toml.load(upstream.folder).release("1.0.10").archives[0].sha256 == SHA256


@pytest.mark.parametrize(
    ("served", "signed"),
    [(OTHER, BODY), (BODY[:1000], BODY), (BODY, OTHER), (b"", BODY)],
    ids=["other", "cut", "not-this", "nothing"],
)
def test_unsigned_bytes_are_refused(upstream, served, signed):
    upstream.serve("1.2.1", served, signed=signed)
    said = upstream.error_of_add(SignatureError, "1.2.1")
    assert "is not a valid signature of thing-1.2.1.tar.gz" in said
    # A given checksum does not replace a bad signature.
    upstream.error_of_add(SignatureError, "1.2.1", sha256=hashlib.sha256(served).hexdigest())


def test_missing_signature_is_reported(upstream):
    upstream.serve("1.2.1", signed=None)
    said = upstream.error_of_add(FetchError, "1.2.1")
    assert "the signature thing-1.2.1.tar.gz.asc could not be downloaded" in said
    assert "404" in said
    assert "--sha256 SUM" in said
    assert upstream.add("1.2.1", sha256=SHA256.upper())
    reason = "not verified by a signature: thing-1.2.1.tar.gz.asc could not be downloaded"
    assert any(reason in line for line in upstream.lines)


def test_endless_signature_is_refused(upstream):
    upstream.serve("1.2.1")
    upstream.server.at("/1.2/thing-1.2.1.tar.gz.asc", Answer(b"x" * 3_000_000))
    assert "more than 1 MB" in upstream.error_of_add(FetchError, "1.2.1")


def test_unsigned_is_refused_where_upstream_signs(upstream):
    upstream.serve("1.2.1")
    assert "--unsigned is not needed" in upstream.error_of_add(UsageError, "1.2.1", unsigned=True)


def test_version_without_a_pinned_key_needs_confirmation(upstream):
    upstream.write()
    upstream.serve("1.2.1", signed=None)
    said = upstream.error_of_add(UsageError, "1.2.1")
    assert "thing 1.2.1 cannot be verified" in said
    assert "--sha256 SUM" in said
    assert "--unsigned" in said
    assert not upstream.server.log
    wrong = upstream.error_of_add(ChecksumError, "1.2.1", sha256="f" * 64)
    assert SHA256 in wrong
    assert upstream.add("1.2.1", unsigned=True)
    assert any("pins no key of upstream" in line for line in upstream.lines)
    upstream.serve("1.2.2", archive("thing-1.2.2"), signed=None)
    assert upstream.add("1.2.2", sha256=hashlib.sha256(archive("thing-1.2.2")).hexdigest())


def test_existing_version_may_come_from_the_distribution(upstream):
    """A distribution may pack a source again: it has its own checksum, and no signature."""
    upstream.serve("1.2.1")
    upstream.add("1.2.1")
    folder, other = upstream.cache / "sources/thing", hashlib.sha256(OTHER).hexdigest()
    (folder / "thing-1.2.1.tar.gz").rename(upstream.cache / "away")
    (folder / "thing_1.2.1.orig.tar.gz").write_bytes(OTHER)
    text = upstream.path.read_text()
    debian = f'{{ source = "thing", file = "thing_1.2.1.orig.tar.gz", sha256 = "{other}" }}'
    changed = text.replace('[versions."1.2.1"]\n', f'[versions."1.2.1"]\ndebian = {debian}\n')
    upstream.path.write_text(changed)
    assert upstream.add("1.2.1") == ""
    assert any("the pinned archive of the distribution" in line for line in upstream.lines)
    assert "already has thing 1.2.1, with this archive" in upstream.lines[-1]
    assert upstream.add("1.2.1", sha256=SHA256) == ""
    with pytest.raises(ChecksumError, match="but --sha256 says f"):
        upstream.add("1.2.1", sha256="f" * 64)
    assert upstream.path.read_text() == changed


def test_existing_version_is_verified_again(upstream):
    """The file does not change. The archive comes from the cache, only the signature does not."""
    upstream.serve("1.2.1")
    upstream.add("1.2.1")
    before = upstream.path.read_bytes()
    upstream.server.log.clear()
    assert upstream.add("1.2.1") == ""
    assert "already has thing 1.2.1 with this checksum" in upstream.lines[-1]
    assert [asked.path for asked in upstream.server.log] == ["/1.2/thing-1.2.1.tar.gz.asc"]
    upstream.serve("1.2.1", OTHER, signed=OTHER)
    with pytest.raises(SignatureError):
        upstream.add("1.2.1")
    assert upstream.path.read_bytes() == before


def test_other_address_is_written(upstream):
    upstream.serve("1.2.1", signed=None)
    address = upstream.server.at("/elsewhere/thing_1_2_1.tgz", Answer(BODY))
    upstream.add("1.2.1", url=address, sha256=SHA256)
    (archive,) = sources_toml.load(upstream.folder).release("1.2.1").archives
    assert (archive.file, archive.urls) == ("thing_1_2_1.tgz", (address,))


@pytest.mark.parametrize(
    "url", ["http://upstream.invalid/a.tgz", "https://a:b@u.invalid/a.tgz", "x"]
)
def test_invalid_address_is_refused(upstream, url):
    assert "versions.1.2.1.urls holds" in upstream.error_of_add(CatalogueError, "1.2.1", url=url)


def test_interrupted_transfer_starts_again(upstream):
    """Without a known checksum, parts of two transfers are never joined."""
    upstream.serve("1.2.1")
    place, before = "/1.2/thing-1.2.1.tar.gz", upstream.path.read_text()
    cut = Answer(BODY[::-1], sent=1000)
    for answers in (
        [cut, Answer(BODY, ranges=False)],
        [cut, Answer(BODY)],
        [cut, cut, Answer(BODY)],
    ):
        upstream.server.at(place, *answers)
        upstream.path.write_text(before)
        upstream.add("1.2.1", retries=3)
        assert sources_toml.load(upstream.folder).release("1.2.1").archives[0].sha256 == SHA256


def test_interrupted_mirror_gives_way(upstream):
    """The next source starts from the beginning."""
    upstream.serve("1.2.1")
    upstream.server.at("/mirror/thing-1.2.1.tar.gz", Answer(BODY[::-1], sent=1000))
    upstream.add("1.2.1", mirrors=(f"{upstream.server.url}/mirror",))
    assert sources_toml.load(upstream.folder).release("1.2.1").archives[0].sha256 == SHA256


def test_missing_archive_is_reported(upstream):
    said = upstream.error_of_add(FetchError, "1.2.1")
    assert f"{upstream.server.url}/1.2/thing-1.2.1.tar.gz: it answered 404" in said
    assert "--url URL" in said


def test_mirror_gives_archive_and_signature(upstream, tmp_path):
    """The machine cannot reach upstream; the key is pinned all the same."""
    mirror = tmp_path / "mirror/thing"
    mirror.mkdir(parents=True)
    archive = mirror / "thing-1.2.1.tar.gz"
    archive.write_bytes(BODY)
    signature = upstream.signer.sign(archive, upstream.key)
    archive.with_name(f"{archive.name}.asc").write_bytes(signature)
    archive.write_bytes(OTHER)
    with pytest.raises(SignatureError):
        upstream.add("1.2.1", mirrors=(str(mirror.parent),))
    archive.write_bytes(BODY)
    assert upstream.add("1.2.1", mirrors=(str(mirror.parent),))
    assert not upstream.server.log


@pytest.mark.parametrize("version", ["latest", "1", "1.2.3-rc1", "../1.2", "1.2.3\n", "", "1.٢"])
def test_invalid_version_is_refused(upstream, version):
    assert "invalid version" in upstream.error_of_add(UsageError, version)


def test_other_address_of_an_existing_version_is_refused(upstream):
    said = upstream.error_of_add(
        UsageError, "1.2.0", url="https://upstream.invalid/thing-1.2.0.tgz"
    )
    assert "is already in the catalogue" in said


def test_invalid_checksum_is_refused(upstream):
    assert "invalid --sha256" in upstream.error_of_add(UsageError, "1.2.1", sha256="abc")


def test_concurrent_change_is_kept(upstream, monkeypatch):
    upstream.serve("1.2.1")

    def edit_and_replace(path, before, after, written=pin._replace):
        upstream.path.write_text(upstream.path.read_text() + "# mine\n")
        written(path, before, after)

    monkeypatch.setattr(pin, "_replace", edit_and_replace)
    with pytest.raises(CatalogueError, match="was changed meanwhile"):
        upstream.add("1.2.1")
    assert upstream.path.read_text().endswith("# mine\n")


def test_entry_is_inserted_in_order():
    text = TEXT.replace("SIGNED", "")
    for version, follows in {
        "0.9": '[versions."1.0.2"]',
        "1.0.10": "# the long-term series",
        "1.2.0a": "# the next one",
        "2.0.1": '[series."1.0"]',
    }.items():
        whole = pin.insert(text, version, ENTRY.format(version))
        assert f"{ENTRY.format(version)}\n{follows}" in whole, version
        assert whole.replace(ENTRY.format(version) + "\n", "") == text


def test_entry_is_added_at_the_end():
    text = TEXT[: TEXT.index("\n[series")].replace("SIGNED", "")
    for end in ("", "\n", "\n\n"):
        whole = pin.insert(text.rstrip("\n") + end, "3.0", ENTRY.format("3.0"))
        assert whole == f"{text.rstrip()}\n\n{ENTRY.format('3.0')}"


def test_windows_line_ends_are_kept():
    text = TEXT.replace("SIGNED", "").replace("\n", "\r\n")
    whole = pin.insert(text, "1.2.1", ENTRY.format("1.2.1"))
    assert whole.count("\r\n") == whole.count("\n")


@pytest.mark.parametrize(
    "versions",
    [
        'versions = { "1.0" = { sha256 = "a" } }',
        'note = """\n[versions."9.0"]\n"""\n[versions."1.0"]\nsha256 = "a"',
    ],
)
def test_layout_that_cannot_be_kept_is_refused(versions):
    with pytest.raises(CatalogueError, match="cannot be inserted automatically") as caught:
        pin.insert(f'default = "1.0"\n{versions}\n', "1.5", ENTRY.format("1.5"))
    assert ENTRY.format("1.5") in str(caught.value)


NUMBERS = st.lists(st.integers(0, 30), min_size=2, max_size=4)


@given(st.lists(NUMBERS.map(lambda n: ".".join(map(str, n))), unique=True, min_size=1, max_size=9))
def test_any_order_of_adding_gives_one_file(versions):
    text = 'default = "1.0"\n'
    for version in sorted(versions, key=lambda v: [int(n) for n in v.split(".")]):
        text += f"\n# {version}\n{ENTRY.format(version)}"
    first, *others = versions
    grown = f'default = "1.0"\n\n{ENTRY.format(first)}'
    for version in others:
        grown = pin.insert(grown, version, ENTRY.format(version))
    kept = "".join(line for line in text.splitlines(keepends=True) if line[0] != "#")
    assert grown == kept
    assert toml.loads(grown) == toml.loads(text)
