"""A recipe, the server of its upstream, and the signing keys."""

from __future__ import annotations

import hashlib
import io
import random
import ssl
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from openpgp import Signer
from scripted_server import Answer, ScriptedServer, scripted_server

from rezbuild.catalogue import sources_toml
from rezbuild.reporter import Reporter
from rezbuild.settings import Settings
from rezbuild.versions import add as pin


def archive(top: str, files: dict[str, str] | None = None) -> bytes:
    """Return a tar archive of one folder, with data that does not compress."""
    made = io.BytesIO()
    content = {"data": random.Random(7).randbytes(300_000)}
    content |= {name: text.encode() for name, text in (files or {}).items()}
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, data in content.items():
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return made.getvalue()


BODY = archive("thing")
OTHER = BODY[:-1] + b"?"
SHA256 = hashlib.sha256(BODY).hexdigest()
# Like a file that people edit: with comments, blank lines, and a table after the versions.
TEXT = """\
# A thing.
default = "1.0.2"  # for good reason
license = "MIT"
file = "thing-{version}.tar.gz"
urls = ["https://upstream.invalid/{series}/{file}"]
SIGNED
[versions."1.0.2"]
sha256 = "SUM1"

# the long-term series
[versions."1.2.0"]
sha256 = "SUM2"
license = "Apache-2.0"
requires = ["other-1"]
debian = { source = "thing", file = "thing_1.2.0.orig.tar.gz" }

# the next one
[versions."2.0.0"]
sha256 = "SUM3"

[series."1.0"]
license = "Zlib"
"""
for _number in "123":
    TEXT = TEXT.replace(f"SUM{_number}", _number * 64)
ENTRY = '[versions."{}"]\nsha256 = "' + "0" * 64 + '"\n'


class Upstream:
    """A recipe, its upstream's server, and a build machine."""

    def __init__(self, folder: Path, server: ScriptedServer, signer: Signer, key: str) -> None:
        self.folder = folder / "packages/thing"
        self.path = self.folder / "sources.toml"
        self.server, self.signer, self.key = server, signer, key
        self.cache, self._printed = folder / "cache", io.StringIO()
        signer.export(key, self.folder / "keys")
        self.write(f'signed = {{ suffix = ".asc", by = ["{key}"] }}\n')

    def write(self, signed: str = "") -> None:
        text = TEXT.replace("SIGNED", signed)
        self.path.write_text(text.replace("https://upstream.invalid", self.server.url))

    def serve(
        self, version: str, body: bytes = BODY, *, signed: bytes | None = BODY, at: str = ""
    ) -> None:
        """Serve a version; ``signed``: the signed bytes; ``at``: the time of the signature."""
        place = f"/{version[:3]}/thing-{version}.tar.gz"
        self.server.at(place, Answer(body))
        if signed is not None:
            file = self.folder.parent / "signed"
            file.write_bytes(signed)
            self.server.at(f"{place}.asc", Answer(self.signer.sign(file, self.key, at=at)))

    @property
    def lines(self) -> list[str]:
        """Return each printed line."""
        return self._printed.getvalue().splitlines()

    def add(
        self, version: str, *, mirrors: tuple[str, ...] = (), retries: int = 0, **values: Any
    ) -> str:
        settings = Settings(
            self.cache, mirrors, connect_timeout=2.0, read_timeout=2.0, retries=retries
        )
        version_request = pin.NewVersion(version, **values)
        reporter = Reporter(stream=self._printed)
        return pin.add(sources_toml.load(self.folder), version_request, settings, reporter)

    def error_of_add(self, error: type[Exception], version: str, **values: Any) -> str:
        """Return the error, and assert that no file was written or remains."""
        before = self.path.read_bytes()
        with pytest.raises(error) as caught:
            self.add(version, **values)
        assert self.path.read_bytes() == before
        assert {path.name for path in self.folder.iterdir()} == {"keys", "sources.toml"}
        assert not [path for path in self.cache.rglob("*") if path.is_file()]
        assert not list(self.cache.glob("pin-*"))
        return str(caught.value)


@pytest.fixture(scope="module")
def signer() -> Iterator[tuple[Signer, str]]:
    signer = Signer()
    yield signer, signer.key("upstream", at="20150101T000000")
    signer.close()


@pytest.fixture
def upstream(signer, tmp_path, monkeypatch) -> Iterator[Upstream]:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with scripted_server(context) as server:
        yield Upstream(tmp_path, server, *signer)
