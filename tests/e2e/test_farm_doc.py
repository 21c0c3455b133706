"""Every shell command of docs/how-to/farm.md, in order, with packages that build in a second."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from sample_packages import LOW, TOP, Samples
from studio import ROOT, Studio

pytestmark = pytest.mark.e2e

PAGE = (ROOT / "docs/how-to/farm.md").read_text()
BLOCKS = re.findall(r"(?ms)^```sh\n(.*?)^```$", PAGE)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def samples(tmp_path: Path) -> Samples:
    """Return sample packages with the names of real ones."""
    samples = Samples(tmp_path / "samples", empty=True)
    samples.add("zlib", "1.3.1", LOW)
    python = {name: text.replace("top", "python3") for name, text in TOP.items()}
    python["python3.c"] = python.pop("top.c")
    samples.add("python", "3.11.2", python, requires='"zlib-1"')
    return samples


def test_commands_of_the_farm_page_run(samples, tmp_path):
    studio = Studio(tmp_path / "studio")
    studio.env |= {**samples.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    assert len(BLOCKS) == 5
    lines = ["set -m", *(line for block in BLOCKS for line in block.splitlines())]
    # kill and wait return the exit code of the killed process.
    ends = ("kill ", "wait", "set ")
    script = "\n".join(
        line if line.startswith(ends) or line.endswith("&") else f"{line} || exit 1"
        for line in lines
    )
    port = str(free_port())
    script = script.replace("8786", port).replace("scheduler &", f"scheduler --port {port} &")
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=studio.env,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
    assert "python-3.11.2: installed, " in done.stdout
    assert "zlib-1.3.1: building, --force is given" in done.stdout
    assert "worker: three at tls://127.0.0.1:" in done.stdout
    assert done.stdout.count("zlib-1.3.1: installed, ") == 2
    assert re.search(r"(?m)^ *four .* running +tls://127\.0\.0\.1:\d+$", done.stdout)
    assert "four: draining, it has no job, and ends now" in done.stdout
    assert "worker: four has ended, as it was drained" in done.stdout
