"""A store of payloads: other machines install in seconds what one machine has built."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from mounts import mounts
from moves import NAMES, PYTHON, REQUEST, variant
from sample_packages import LOW, Samples
from studio import ROOT, Studio
from trees import tree

from rezbuild.files.pack import digest
from rezbuild.payload import debug_data, manifest
from rezbuild.settings import Settings

pytestmark = pytest.mark.e2e


class Machines:
    """Machines that share only a store.

    Attributes:
        store: The value of REZBUILD_STORE.
    """

    def __init__(self, samples: Samples, folder: Path) -> None:
        self.samples, self.folder = samples, folder
        self.store = folder / "the store"
        self.store.mkdir()

    def remove_all(self) -> None:
        """Remove everything from the store."""
        shutil.rmtree(self.store)
        self.store.mkdir()

    def make_machine(self, name: str, *, sources: bool = False) -> Studio:
        """Return a machine with empty repositories and cache, and sources on request."""
        studio = Studio(self.folder / name)
        recipes = studio.folder / "recipes"
        shutil.copytree(self.samples.recipes, recipes, ignore=shutil.ignore_patterns("build"))
        studio.env |= {
            "REZBUILD_RECIPES": str(recipes),
            "REZBUILD_CACHE": str(studio.folder / "cache"),
            "REZBUILD_MIRRORS": str(self.samples.mirror) if sources else "",
            "REZBUILD_OFFLINE": "1",
            "REZBUILD_STORE": str(self.store),
        }
        return studio

    def fill_store(self, request: str = "top", **env: str) -> Studio:
        """Return a machine that has built a package without Rez."""
        studio = self.make_machine("first", sources=True)
        self.stage(studio, request, **env)
        return studio

    def stage(
        self, studio: Studio, request: str, *argv: str, ok: bool = True, **env: str
    ) -> subprocess.CompletedProcess[str]:
        return studio.rezbuild("export", request, studio.folder / request, *argv, ok=ok, **env)

    def entries(self) -> list[Path]:
        return sorted(self.store.glob("*/*/*.json"))

    def restored_line(self, name: str, version: str) -> str:
        return f"{name} {version}: taken from the store {self.store}"


@pytest.fixture
def machines(samples: Samples, tmp_path: Path) -> Machines:
    return Machines(samples, tmp_path)


def test_second_machine_installs_from_the_store(machines):
    one, two = machines.make_machine("one", sources=True), machines.make_machine("two")
    out = one.rezbuild("build", "top").stdout
    assert out.count("not in the store") == 2
    out = two.rezbuild("build", "top").stdout
    assert f"low-1.0.0: {machines.restored_line('low', '1.0.0')}\n" in out
    assert f"top-2.0.0: {machines.restored_line('top', '2.0.0')}\n" in out
    assert "01-make" not in out
    for name in ("low", "top"):
        assert tree(two.local / name) == tree(one.local / name)
    assert two.in_env(two.local, "top", "top").stdout == "42\n"
    assert "nothing to do" in two.rezbuild("build", "top").stdout
    # rez-build and `rezbuild export` use the store, too.
    low = Path(two.env["REZBUILD_RECIPES"], "low")
    shutil.rmtree(two.local / "low")
    assert machines.restored_line("low", "1.0.0") in two.rez("build", "-i", cwd=low).stdout
    assert tree(two.local / "low") == tree(one.local / "low")
    three = machines.make_machine("three")
    out = machines.stage(three, "top").stdout
    assert machines.restored_line("top", "2.0.0") in out
    (installed,) = (one.local / "top").glob("*/platform-*/arch-*")
    assert digest(three.folder / "top") == digest(installed)


def compiler(machine: Studio) -> str:
    """Make a compiler that prints another version and calls the real one."""
    path = machine.folder / "gcc"
    says = '[ "$1" = --version ] && echo "gcc 99" && exit'
    path.write_text(f'#!/bin/sh\n{says}\nexec /usr/bin/gcc "$@"\n')
    path.chmod(0o755)
    return str(path)


def test_different_inputs_miss_the_store(machines):
    machines.fill_store("low")
    first, two = machines.entries(), machines.make_machine("two", sources=True)
    differences = {
        "compiler, environment": {"REZBUILD_CC": compiler(two)},
        "profile": {"REZBUILD_PROFILE": "optimized"},
    }
    for what, env in differences.items():
        out = machines.stage(two, "low", **env).stdout
        assert f"low 1.0.0: not in the store {machines.store}, which has 1 of other inputs" in out
        assert f"(the nearest: {what})" in out
        assert "01-make" in out
        # The new entry must not count as the most similar entry.
        next(path for path in machines.entries() if path not in first).unlink()
    recipe = Path(two.env["REZBUILD_RECIPES"], "low/recipe.py")
    recipe.write_text(f"{recipe.read_text()}# changed\n")
    assert "(the nearest: recipe)" in machines.stage(two, "low").stdout


def test_different_dependency_misses_the_store(machines):
    machines.fill_store()
    two = machines.make_machine("two", sources=True)
    machines.stage(two, "low")
    # All recorded inputs are the same.
    (library,) = two.folder.glob("cache/stage/low/*/staging/lib/liblow.so.1")
    library.chmod(0o555)
    out = machines.stage(two, "top").stdout
    assert "low 1.0.0: already built from the same inputs" in out
    assert "top 2.0.0: not in the store" in out
    assert "(the nearest: against)" in out
    assert "01-make" in out


def test_only_known_and_unchanged_builds_are_uploaded(machines):
    """The fingerprint in the record always matches the current inputs."""
    studio = machines.make_machine("one", sources=True)
    machines.stage(studio, "low", REZBUILD_STORE="")
    notice = "notice: not put into the store .*: .*/staging may be changed"
    out = machines.stage(studio, "low").stdout
    assert "low 1.0.0: already built from the same inputs" in out
    assert re.search(notice, out)
    assert machines.entries() == []
    (staging,) = studio.folder.glob("cache/stage/low/*/staging")
    shutil.rmtree(staging)
    machines.stage(studio, "low")
    machines.remove_all()
    # The recipe has the recorded inputs again.
    out = machines.stage(studio, "low").stdout
    assert "already built" in out
    assert "notice" not in out
    assert len(machines.entries()) == 1
    machines.remove_all()
    (staging / "lib/liblow.so.1").write_bytes(b"of somebody else")
    assert re.search(notice, machines.stage(studio, "low").stdout)
    assert machines.entries() == []


def test_damaged_entry_is_built_and_repaired(machines):
    machines.fill_store("low")
    (blob,) = machines.store.glob("payloads/*")
    os.truncate(blob, 1000)
    two = machines.make_machine("two")
    done = machines.stage(two, "low", ok=False)
    # Without a usable entry and without sources, the build fails.
    assert done.returncode == 4
    assert "is refused: it has 1000 bytes, not" in done.stdout
    (entry,) = machines.entries()
    assert f"notice: {entry.relative_to(machines.store)} of the store" in done.stdout
    out = machines.stage(two, "low", REZBUILD_MIRRORS=str(machines.samples.mirror)).stdout
    assert "building it instead" in out
    assert "01-make" in out
    assert (
        machines.restored_line("low", "1.0.0")
        in machines.stage(machines.make_machine("three"), "low").stdout
    )


def test_stored_payload_obeys_the_glibc_limit(machines):
    machines.fill_store()
    done = machines.stage(machines.make_machine("two"), "top", "--glibc-max", "2.2", ok=False)
    assert done.returncode == 9
    assert "top 2.0.0, taken from the store, needs glibc 2." in done.stderr


def test_force_builds_and_replaces_the_entry(machines):
    studio = machines.make_machine("one", sources=True)
    studio.rezbuild("build", "low")
    (entry,) = machines.entries()
    before = entry.stat().st_mtime_ns
    out = studio.rezbuild("build", "low", "--force").stdout
    assert "01-make" in out
    assert "store" not in out
    assert machines.entries() == [entry]
    assert entry.stat().st_mtime_ns > before


def test_reproduce_does_not_use_the_store(machines):
    studio = machines.fill_store("low")
    kept = studio.folder / "kept"
    out = studio.rezbuild("reproduce", "low", "--keep", kept).stdout
    assert "identical byte for byte" in out
    logs = [path.name for path in kept.glob("*/build/logs/*")]
    assert logs.count("01-make.log") == 2


def test_named_entry_is_used_or_the_build_fails(machines):
    """A farm publishes a worker's payload this way, without source and compiler."""
    machines.fill_store()
    two = machines.make_machine("two")
    recipes = Path(two.env["REZBUILD_RECIPES"])
    top, low = (str(next(machines.store.glob(f"{name}/*/*.json"))) for name in ("top", "low"))
    nothing = {"REZBUILD_CC": "no-such-compiler", "REZBUILD_CXX": "no-such-compiler"}

    def build(name: str, entry: str, **env: str) -> tuple[int, str]:
        named = {"REZBUILD_STORE_ENTRY": entry, **nothing, **env}
        done = two.rez("build", "-i", cwd=recipes / name, ok=False, **named)
        return done.returncode, done.stdout + done.stderr

    two.rez("bind", "platform")
    two.rez("bind", "arch")
    code, said = build("low", top)
    assert code != 0
    assert "is not for this build of low 1.0.0: its name differs" in said
    code, said = build("low", low, REZBUILD_PROFILE="optimized")
    assert "its profile differs" in said
    assert not (two.local / "low").exists()
    code, said = build("low", low)
    assert code == 0, said
    assert machines.restored_line("low", "1.0.0") in said
    assert build("top", top)[0] == 0
    assert two.in_env(two.local, "top", "top").stdout == "42\n"


def key_pair(folder: Path) -> tuple[str, str]:
    key = ed25519.Ed25519PrivateKey.generate()
    private, public = folder / "store.key", folder / "store.pub"
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(pem, spki))
    return str(private), str(public)


def test_unsigned_entry_is_built(machines, tmp_path):
    private, public = key_pair(tmp_path)
    machines.fill_store("low")
    two, trust = machines.make_machine("two", sources=True), {"REZBUILD_STORE_TRUST": public}
    out = machines.stage(two, "low", **trust, REZBUILD_STORE_SIGN=private).stdout
    assert "is refused: the entry has no signature" in out
    assert "01-make" in out
    out = machines.stage(machines.make_machine("three"), "low", **trust).stdout
    assert machines.restored_line("low", "1.0.0") in out


def test_full_or_read_only_store_gives_a_notice(machines):
    studio = machines.make_machine("one", sources=True)
    with mounts() as space:
        space.disk(machines.store)
        space.fill(machines.store, 0)
        words = (sys.executable, "-m", "rezbuild", "export", "low", str(studio.folder / "low"))

        def notices() -> list[str]:
            out = studio.run(*space.command, *words).stdout
            return re.findall(r"low 1\.0\.0: notice: not put into the store .*: (.*)", out)

        assert notices() == ["No space left on device"]
        space.empty(machines.store)
        space.writable(machines.store, to=False)
        assert notices() == ["Read-only file system"]
        space.writable(machines.store, to=True)
        assert notices() == []
        assert len(list(space.outer_path(machines.store).glob("low/*/*.json"))) == 1
        assert list(space.outer_path(machines.store).rglob(".part-*")) == []


def test_killed_upload_is_repaired(machines):
    """The kill happens at each step of the upload; no partial file is ever used."""
    data = {"data": os.urandom(2 << 20).hex()}
    install = LOW["Makefile"] + "\tcp data $(DESTDIR)$(PREFIX)/lib/data.txt\n"
    machines.samples.add("low", "1.0.0", {**LOW, **data, "Makefile": install})
    stages = ("payloads/.part-*", "payloads/*.zst", "low/1.0.0", "low/1.0.0/*.json")
    for number, pattern in enumerate(stages):
        machines.remove_all()
        studio = machines.make_machine(f"killed{number}", sources=True)
        argv = [sys.executable, "-m", "rezbuild", "export", "low", str(studio.folder / "low")]
        with subprocess.Popen(
            argv, env=studio.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            while not next(machines.store.glob(pattern), None):
                assert process.poll() is None
                time.sleep(0.0005)
            process.send_signal(signal.SIGKILL)
        if not machines.entries():
            assert studio.rezbuild("store", "verify").stdout == ""
    # The entries are complete, and the missing ones are added.
    other = machines.make_machine("other", sources=True)
    assert studio.rezbuild("store", "verify").returncode == 0
    machines.stage(other, "low")
    assert (
        machines.restored_line("low", "1.0.0")
        in machines.stage(machines.make_machine("last"), "low").stdout
    )


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    handler = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: 0})
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def test_password_of_a_web_store_is_written_nowhere(machines):
    machines.fill_store("low")
    two = machines.make_machine("two", sources=True)
    with serve(machines.store) as address:
        two.env |= {"REZBUILD_STORE": f"http://me:geheim@{address}/", "REZBUILD_OFFLINE": ""}
        out = two.rezbuild("build", "low").stdout
        assert f"low 1.0.0: taken from the store http://{address}/" in out
        out += machines.stage(two, "low", "--profile", "optimized").stdout
        assert "low 1.0.0: notice: not put into the store" in out
    # The store is missing: one notice, and the build continues.
    shutil.rmtree(two.local / "low")
    gone = two.rezbuild("build", "low", REZBUILD_RETRIES="0")
    assert gone.stdout.count("cannot be used: it refuses connections") == 1
    assert "01-make" in gone.stdout
    assert "geheim" not in out + gone.stdout + gone.stderr
    for path in two.folder.rglob("*"):
        assert not path.is_file() or b"geheim" not in path.read_bytes(), path


def test_store_add_uploads_installed_packages(studio, machines):
    one = machines.make_machine("one", sources=True)
    one.rezbuild("build", "low", REZBUILD_STORE="")
    assert not list(machines.store.iterdir())
    assert one.rezbuild("store", "add", "low").stdout.startswith("low-1.0.0: added, ")
    assert one.rezbuild("store", "add", "low").stdout.startswith("low-1.0.0: there already, ")
    machines.stage(machines.make_machine("two"), "low")
    # A changed payload is not the built one.
    (root,) = (one.local / "low").glob("*/platform-*/arch-*")
    (root / "lib/late").touch()
    done = one.rezbuild("store", "add", root, ok=False)
    assert done.returncode == 14
    assert "lib/late" in done.stderr
    (root / "lib/late").unlink()
    recipe = Path(one.env["REZBUILD_RECIPES"], "low/recipe.py")
    recipe.write_text(f"{recipe.read_text()}# changed\n")
    done = one.rezbuild("store", "add", root, ok=False)
    assert done.returncode == 14
    assert "the recipe or rezbuild has changed since" in done.stderr


def test_empty_machine_installs_the_whole_chain(built, scratch):
    """Without sources and cache, python works after half a minute."""
    store = {"REZBUILD_STORE": str(scratch / "store")}
    (scratch / "store").mkdir()
    built.rezbuild("store", "add", f"python-{PYTHON}", **store)
    empty = Studio(scratch / "empty")
    shutil.copytree(
        ROOT / "packages",
        empty.folder / "recipes",
        symlinks=True,
        ignore=shutil.ignore_patterns("build"),
    )
    empty.env |= {
        **store,
        "REZBUILD_CACHE": str(empty.folder / "cache"),
        "REZBUILD_RECIPES": str(empty.folder / "recipes"),
        "REZBUILD_OFFLINE": "1",
    }
    busy = os.getloadavg()[0] > (os.cpu_count() or 1)
    began = time.monotonic()
    out = empty.rezbuild("build", REQUEST).stdout
    said = empty.in_env(empty.local, "python", "python3", "-c", "import ssl; print(6 * 7)").stdout
    seconds = time.monotonic() - began
    assert said == "42\n"
    assert out.count(f"taken from the store {store['REZBUILD_STORE']}") == len(NAMES)
    assert seconds < (60 if busy else 30)
    for name in NAMES:
        version = next((built.local / name).iterdir()).name
        roots = (variant(studio.local, name, version) for studio in (built, empty))
        assert len({digest(root) for root in roots}) == 1
    # The store also holds its debug data, so python_debug can be built here.
    record = manifest.read(variant(empty.local)) or {}
    there = Settings.read(empty.env).cache / "debug"
    assert record["build_ids"]
    assert all((there / debug_data.path_of(i)).is_file() for i in record["build_ids"].values())
    shutil.rmtree(empty.folder)
    shutil.rmtree(scratch / "store")
