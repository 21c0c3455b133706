"""The pages about the moved python, opened in a browser."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import pytest
from host_tools import require_tool
from html_page import Page
from moves import PYTHON
from studio import Studio

pytestmark = pytest.mark.e2e

# Set it to a folder that keeps the screenshots, to look at them.
SCREENSHOTS = "REZBUILD_TEST_SCREENSHOTS"


@pytest.fixture
def page(payload: Path, built: Studio, tmp_path: Path) -> Path:
    """Return the page of the moved python."""
    file = tmp_path / "report.html"
    built.rezbuild("report", payload, "-o", file)
    return file


def test_page_of_python_shows_what_it_takes_from_where(page):
    text = page.read_text()
    Page(text).check()
    assert f"<h1>python {PYTHON}</h1>" in text
    assert '<span class="good">the audit found no error</span>' in text
    assert '<span class="host">host</span>\n<code>libX11.so.6</code>' in text
    assert '<span class="bad">missing</span>' not in text
    for part in ("openssl", "sqlite", "zlib", "GLIBC_2.2.5", "bin/python3"):
        assert part in text


@pytest.mark.parametrize("width", [1280, 400])
def test_browser_shows_the_page_without_a_network(page, tmp_path, width):
    require_tool("chromium")
    folder = Path(os.environ.get(SCREENSHOTS) or tmp_path)
    picture = folder / f"report-{width}.png"
    argv = [
        *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
        *(f"--user-data-dir={tmp_path / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND"),
        *(f"--window-size={width},4000", f"--screenshot={picture}", page.as_uri()),
    ]
    env = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert picture.is_file(), done.stderr
    data = picture.read_bytes()
    assert struct.unpack(">2I", data[16:24]) == (width, 4000)  # IHDR, PNG specification 11.2.2
    # An empty page of this size has less than 25 kB.
    assert len(data) > 100_000


def test_comparison_of_python_with_itself_has_no_change(payload, built, tmp_path):
    file = tmp_path / "changes.html"
    built.rezbuild("report", payload, payload, "-o", file)
    Page(file.read_text()).check()
    assert file.read_text().count("No change.") == 7


def test_page_of_all_repositories_lists_the_chain(built, tmp_path):
    file = tmp_path / "all.html"
    built.rezbuild("report", "--all", "-o", file)
    Page(file.read_text()).check()
    assert file.read_text().count('<th scope="row">python</th>') == 1
