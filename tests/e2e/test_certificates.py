"""Trusted certificates on hosts with the folders of each distribution."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from loopback import Authority, TlsServer, serving
from moves import DEFAULTS, variant
from other_host import on_host

pytestmark = pytest.mark.e2e
REFUSED = "CERTIFICATE_VERIFY_FAILED"
Done = subprocess.CompletedProcess[str]
# The files that OpenSSL reads on any distribution; each test replaces them.
TRUST = ("/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/var/lib/ca-certificates", "/usr/lib/ssl")

# A file with the authority, and a folder made by `openssl rehash`; otherwise a link.
BUNDLE, HASHED = "a bundle", "a hashed folder"
RED_HAT = "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"
DISTRIBUTIONS: dict[str, Mapping[str, str]] = {
    "Debian": {"/etc/ssl/certs": HASHED, "/etc/ssl/certs/ca-certificates.crt": BUNDLE},
    "Alpine": {
        "/etc/ssl/certs/ca-certificates.crt": BUNDLE,
        "/etc/ssl/cert.pem": "certs/ca-certificates.crt",
    },
    "Arch": {
        "/etc/ca-certificates/extracted/tls-ca-bundle.pem": BUNDLE,
        "/etc/ssl/certs/ca-certificates.crt": "../../ca-certificates/extracted/tls-ca-bundle.pem",
    },
    "Rocky 8 and 9": {
        RED_HAT: BUNDLE,
        "/etc/pki/tls/certs/ca-bundle.crt": RED_HAT,
        "/etc/pki/tls/cert.pem": RED_HAT,
        "/etc/ssl/certs": "../pki/tls/certs",
    },
    # https://fedoraproject.org/wiki/Changes/droppingOfCertPemFile
    "Fedora 44": {
        RED_HAT: BUNDLE,
        "/etc/pki/tls/certs": HASHED,
        "/etc/ssl/certs": "../pki/tls/certs",
    },
    "SUSE": {
        "/var/lib/ca-certificates/ca-bundle.pem": BUNDLE,
        "/var/lib/ca-certificates/pem": HASHED,
        "/etc/ssl/ca-bundle.pem": "../../var/lib/ca-certificates/ca-bundle.pem",
        "/etc/ssl/certs": "../../var/lib/ca-certificates/pem",
    },
}
# Each path is tested alone, so that no other path hides a failure.
FILES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    RED_HAT,
    "/etc/pki/tls/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/var/lib/ca-certificates/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
FOLDERS = ("/etc/ssl/certs", "/etc/pki/tls/certs")
LAYOUTS = {
    **DISTRIBUTIONS,
    **{path: {path: BUNDLE} for path in FILES},
    **{f"{path}/HASH.0": {path: HASHED} for path in FOLDERS},
}

# This server speaks TLS 1.3 only.
NONSENSE = """\
openssl_conf = nonsense
[nonsense]
ssl_conf = ssl
[ssl]
system_default = old
[old]
MaxProtocol = TLSv1.2
"""

URLOPEN = """\
import json, os, ssl, subprocess, sys, urllib.request
before = dict(os.environ)
with urllib.request.urlopen(sys.argv[1], timeout=20) as answer:
    said = answer.read().decode()
# Variables that C code sets are not in os.environ, but a child inherits them.
after = subprocess.run(["env", "-0"], stdout=-1, check=True, text=True).stdout
after = dict(item.split("=", 1) for item in after.split("\\0") if item)
print(json.dumps([said, os.environ == before, sorted(set(after.items()) ^ set(before.items()))]))
"""


class Client:
    """Our python and openssl on a host with other certificate folders."""

    def __init__(self, python: Path, openssl: Path, server: TlsServer, folder: Path) -> None:
        self.python = python / "bin/python3"
        self.openssl = openssl / "bin/openssl"
        self.server = server
        self.tree = folder / "host"
        self.tree.mkdir()
        self.env = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}

    def install_authority(self, layout: Mapping[str, str]) -> None:
        """Install the authority at the path that this distribution uses."""
        for path, what in sorted(layout.items()):
            place = self.tree / path[1:]
            place.parent.mkdir(parents=True, exist_ok=True)
            if what is HASHED:
                self.make_hashed_folder(place)
            elif what is BUNDLE:
                place.write_bytes(self.server.authority.read_bytes())
            else:
                place.symlink_to(what)

    def make_hashed_folder(self, folder: Path) -> Path:
        """Return a certificate folder as ``openssl rehash`` makes it."""
        folder.mkdir(parents=True)
        (folder / "authority.pem").write_bytes(self.server.authority.read_bytes())
        subprocess.run([self.openssl, "rehash", folder], check=True, capture_output=True)
        assert [path for path in folder.iterdir() if re.fullmatch(r"[0-9a-f]{8}\.0", path.name)]
        return folder

    def run(self, *argv: str | Path, text: str = "", **env: str) -> Done:
        return subprocess.run(
            [*on_host(self.tree, TRUST), *map(str, argv)],
            env=self.env | env,
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def urlopen(self, **env: str) -> Done:
        return self.run(self.python, "-c", URLOPEN, self.server.url, **env)

    def verify(self, **env: str) -> Done:
        return self.run(self.openssl, "verify", self.server.issued, **env)

    def s_client(self, **env: str) -> Done:
        place = f"localhost:{self.server.port}"
        options = ("-verify_return_error", "-verify_hostname", "localhost", "-brief")
        return self.run(self.openssl, "s_client", "-connect", place, *options, **env)

    def trusts(self, **env: str) -> dict[str, bool]:
        """Return the clients that trust the server; assert that the others name the certificate."""
        answers = {"urlopen": self.urlopen(**env)}
        answers |= {"verify": self.verify(**env), "s_client": self.s_client(**env)}
        reasons = {"urlopen": REFUSED, "verify": "unable to get local issuer", "s_client": "verify"}
        for who, done in answers.items():
            said = done.stdout + done.stderr
            assert done.returncode == 0 or reasons[who] in said, f"{who}: {said}"
        return {who: done.returncode == 0 for who, done in answers.items()}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServer]:
    with serving(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def client(moved: Path, moved_openssl: Path, server: TlsServer, tmp_path: Path) -> Client:
    openssl = variant(moved_openssl, "openssl", DEFAULTS["openssl"])
    return Client(variant(moved), openssl, server, tmp_path)


ALL = {"urlopen": True, "verify": True, "s_client": True}
NONE = dict.fromkeys(ALL, False)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_host_authorities_are_trusted(client, layout):
    client.install_authority(LAYOUTS[layout])
    assert client.trusts() == ALL


def test_host_without_authorities_trusts_no_server(client):
    assert client.trusts() == NONE
    done = client.urlopen()
    assert REFUSED in done.stderr


def test_authority_in_the_hashed_folder_is_found(client, tmp_path):
    """An administrator adds an authority beside the distribution's bundle."""
    client.install_authority({"/etc/ssl/certs": HASHED})
    other = Authority(tmp_path).file
    (client.tree / "etc/ssl/certs/ca-certificates.crt").write_bytes(other.read_bytes())
    assert client.trusts() == ALL


def test_dangling_certificate_link_is_skipped(client):
    """A removed ca-certificates package leaves such a link."""
    client.install_authority({"/etc/ssl/certs/ca-certificates.crt": "nothing", RED_HAT: BUNDLE})
    assert client.trusts() == ALL


def test_package_sets_no_certificate_variable(client, built, moved):
    """Neither the process nor rez-env sets one."""
    client.install_authority(DISTRIBUTIONS["Debian"])
    done = client.urlopen()
    assert json.loads(done.stdout) == ["hello", True, []], done.stderr
    out = built.in_env(moved, "python", "env").stdout
    names = {line.partition("=")[0] for line in out.splitlines()} - set(built.env)
    assert not [name for name in names if re.match("(SSL|OPENSSL|REQUESTS|CURL)_", name)]


def test_ssl_cert_file_replaces_the_host_file(client, tmp_path):
    ours, other = str(client.server.authority), str(Authority(tmp_path).file)
    assert client.trusts(SSL_CERT_FILE=ours) == ALL
    client.install_authority({"/etc/ssl/certs/ca-certificates.crt": BUNDLE})
    assert client.trusts() == ALL
    assert client.trusts(SSL_CERT_FILE=other) == NONE


def test_ssl_cert_dir_replaces_the_host_folder(client, tmp_path):
    ours, other = client.make_hashed_folder(tmp_path / "hashed"), tmp_path / "empty"
    other.mkdir()
    assert client.trusts(SSL_CERT_DIR=str(ours)) == ALL
    client.install_authority({"/etc/ssl/certs": HASHED})
    assert client.trusts() == ALL
    assert client.trusts(SSL_CERT_DIR=str(other)) == NONE


def test_host_openssl_cnf_is_not_read(client):
    client.install_authority(DISTRIBUTIONS["Debian"])
    for folder in ("etc/ssl", "etc/pki/tls", "usr/lib/ssl"):
        (client.tree / folder).mkdir(parents=True, exist_ok=True)
        (client.tree / folder / "openssl.cnf").write_text(NONSENSE)
    assert client.trusts() == ALL
    # A client that reads it cannot connect.
    nonsense = str(client.tree / "etc/ssl/openssl.cnf")
    for done in (client.urlopen(OPENSSL_CONF=nonsense), client.s_client(OPENSSL_CONF=nonsense)):
        assert done.returncode != 0
        assert "alert protocol version" in done.stderr


# The legacy provider.

MD4_OF_NOTHING = "31d6cfe0d16ae931b73c59d7e0c089c0"
LEGACY = """\
openssl_conf = all
[all]
providers = both
[both]
default = on
legacy = on
[on]
activate = 1
"""


# OpenSSL 1.1.1 has no providers, so legacy algorithms are always available.
providers = pytest.mark.skipif(DEFAULTS["openssl"] < "3", reason="OpenSSL 1.1.1 has no providers")


@providers
def test_legacy_provider_works_in_the_openssl_command(client):
    listed = client.run(client.openssl, "list", "-providers", "-provider", "legacy")
    assert re.search(r"legacy\n(.*\n)*?.*status: active", listed.stdout), listed
    md4 = client.run(client.openssl, "dgst", "-provider", "legacy", "-md4", "/dev/null")
    assert MD4_OF_NOTHING in md4.stdout, md4.stderr
    both = ("-provider", "legacy", "-provider", "default")
    rc4 = ("enc", "-rc4", *both, "-K", b"Key".hex().ljust(32, "0"), "-a")
    there = client.run(client.openssl, *rc4, text="Plaintext")
    back = client.run(client.openssl, *rc4, "-d", text=there.stdout)
    assert back.stdout == "Plaintext", there.stderr + back.stderr


@providers
def test_legacy_provider_works_in_python(client, tmp_path):
    """As in any OpenSSL 3, it is off by default, and a configuration turns it on."""
    code = "import hashlib; print(hashlib.new('md4').hexdigest())"
    refused = client.run(client.python, "-c", code)
    assert "unsupported hash type" in refused.stderr or "ValueError" in refused.stderr
    configuration = tmp_path / "legacy.cnf"
    configuration.write_text(LEGACY)
    done = client.run(client.python, "-c", code, OPENSSL_CONF=str(configuration))
    assert done.stdout.strip() == MD4_OF_NOTHING, done.stderr
