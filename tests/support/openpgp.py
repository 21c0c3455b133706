"""Good and bad keys and signatures, made by GnuPG."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from host_tools import require_tool


class Signer:
    """Keys in a separate GnuPG home.

    Attributes:
        home: A short path, because it contains the agent's socket.
    """

    def __init__(self) -> None:
        require_tool("gpg")
        self.home = Path(tempfile.mkdtemp(prefix="gpg-"))

    def close(self) -> None:
        subprocess.run(["gpgconf", "--homedir", self.home, "--kill", "all"], check=False)
        shutil.rmtree(self.home, ignore_errors=True)

    def gpg(self, *words: str | Path, text: str = "", at: str = "") -> bytes:
        """Run gpg; ``at`` is its time, e.g. 20200101T000000."""
        clock = ["--faked-system-time", f"{at}!"] if at else []
        quiet = ["--batch", "--quiet", "--yes", "--pinentry-mode", "loopback", "--passphrase", ""]
        argv = ["gpg", "--homedir", self.home, *quiet, *clock, *words]
        done = subprocess.run(
            list(map(str, argv)), input=text.encode(), capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def key(self, name: str, *, kind: str = "rsa2048", expires: str = "never", at: str = "") -> str:
        """Make a key, and return its fingerprint."""
        user = f"{name} <{name}@example.invalid>"
        self.gpg("--quick-gen-key", user, kind, "sign", expires, at=at)
        shown = self.gpg("--with-colons", "--list-keys", f"={user}")
        return next(line for line in shown.decode().splitlines() if line[:3] == "fpr").split(":")[9]

    def revoke(self, fingerprint: str) -> None:
        made = (self.home / "openpgp-revocs.d" / f"{fingerprint}.rev").read_text()
        # GnuPG writes a colon, so that nobody imports the certificate by accident.
        self.gpg("--import", text=made.replace(":-----BEGIN", "-----BEGIN"))

    def export(self, fingerprint: str, folder: Path) -> Path:
        """Write the public key as a catalogue stores it."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{fingerprint}.asc"
        path.write_bytes(self.gpg("--armor", "--export", fingerprint))
        return path

    def sign(self, file: Path, fingerprint: str, *, digest: str = "SHA256", at: str = "") -> bytes:
        """Return an armored detached signature."""
        words = ("--armor", "--digest-algo", digest, "--local-user", fingerprint)
        return self.gpg(*words, "--detach-sign", "--output", "-", file, at=at)
