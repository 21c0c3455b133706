"""What a configure can find on a host: another library, header or compiler is another host."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rezbuild.build import host_facts, toolchain
from rezbuild.build.toolchain import Toolchain
from rezbuild.settings import Settings

# Looks for headers in a folder, and for libraries in another.
COMPILER = """\
#!/bin/sh
here=$(dirname "$0")
case "$*" in
-print-search-dirs) echo "libraries: =$here/lib:$here/none" ;;
-print-prog-name=*) echo "$here/${1#-print-prog-name=}" ;;
--version) cat "$here/version" ;;
*) printf '#include <...> search starts here:\\n %s\\nEnd of search list.\\n' "$here/include" ;;
esac
"""


@pytest.fixture
def tools(tmp_path) -> Toolchain:
    """A compiler of its own, as one below /opt is."""
    for name in ("include/deep", "lib/pkgconfig"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("cc1", "as", "version"):
        (tmp_path / name).write_text("1")
    compiler = tmp_path / "gcc"
    compiler.write_text(COMPILER)
    compiler.chmod(0o755)
    found = toolchain.find(Settings.read({}))
    return replace(found, cc=str(compiler))


CHANGES = {
    "a header": lambda p: (p / "include/deep/a.h").touch(),
    "a library": lambda p: (p / "lib/liba.so").touch(),
    "a link to nothing": lambda p: (p / "lib/libb.so").symlink_to("nowhere"),
    "a package": lambda p: (p / "lib/pkgconfig/a.pc").touch(),
    "the compiler's version": lambda p: (p / "version").write_text("2"),
    "what compiles": lambda p: (p / "cc1").write_text("12"),
    "the compiler itself": lambda p: (p / "gcc").write_text(COMPILER + "# more\n"),
    "the assembler": lambda p: (p / "as").write_text("12"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_another_host(tools, tmp_path, what):
    before = host_facts.facts(tools)
    assert host_facts.facts(tools) == before
    CHANGES[what](tmp_path)
    assert host_facts.facts(tools) != before


def test_a_header_behind_a_link_and_links_in_a_ring(tools, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "include/out").symlink_to(outside)
    (tmp_path / "include/ring").symlink_to(tmp_path / "include")
    before = host_facts.facts(tools)
    (outside / "b.h").touch()
    assert host_facts.facts(tools) != before


def test_the_real_host():
    tools = toolchain.find(Settings.read({}))
    facts = host_facts.facts(tools)
    assert facts == host_facts.facts(tools)
    assert any(Path(tools.cc).name in fact for fact in facts)
    assert len(facts) > 10
