"""Pages about payloads of real ELF files, and about a repository."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from html_page import Page
from payloads import payload
from rez.config import config

from rezbuild.cli import main
from rezbuild.payload import manifest
from rezbuild.report import comparison, payload_facts, treemap
from rezbuild.repository.installed import forget, variant_root
from rezbuild.run import gantt, timeline
from rezbuild.run.gantt import Bar, Timeline

SVG = "{http://www.w3.org/2000/svg}"
USES_LIBC = '#include <stdio.h>\nint answer(void); int main(void) { return puts("") + answer(); }\n'


@pytest.fixture
def small(compile_c, tmp_path: Path) -> Path:
    """Return a payload: a program needs a bundled library by its rpath, and glibc."""
    root = payload(tmp_path / "small", name="small", hardening={}, patches={"a.patch": "ab"})
    library = compile_c.library(f"{root}/deps/other/2.0/lib/libother-1.so.1")
    compile_c.program(
        f"{root}/bin/real",
        *(str(library), "-Wl,--disable-new-dtags,-rpath,$ORIGIN/../deps/other/2.0/lib"),
        source=USES_LIBC,
    )
    manifest.write_contents(root)
    return root


def report(tmp_path: Path, *argv: str | Path) -> str:
    file = tmp_path / "page.html"
    assert main.main(["report", *map(str, argv), "-o", str(file)]) == 0
    text = file.read_text()
    Page(text).check()
    return text


def test_library_has_the_place_where_the_loader_finds_it(small):
    (group,) = [
        libraries
        for files, libraries in payload_facts.gather(small).links
        if files == ("bin/real",)
    ]
    found = {library.name: (library.origin, library.provider) for library in group}
    assert found == {
        "libother-1.so.1": ("payload", "deps/other/2.0/lib/libother-1.so.1"),
        "libc.so.6": ("host", "glibc"),
    }


def test_library_that_is_nowhere_is_missing(small):
    (small / "deps/other/2.0/lib/libother-1.so.1").unlink()
    origins = {
        one.name: one.origin for _, found in payload_facts.gather(small).links for one in found
    }
    assert origins == {"libother-1.so.1": "missing", "libc.so.6": "host"}


def test_symbols_of_glibc_are_listed_by_version_with_their_files(small):
    found = payload_facts.gather(small).glibc
    names = {name: files for by_name in found.values() for name, files in by_name.items()}
    assert names["puts"] == ["bin/real"]
    assert list(found) == sorted(
        found, key=lambda v: [*map(int, re.findall(r"\d+", v))], reverse=True
    )


def test_page_shows_libraries_and_escapes_names_of_files(small, tmp_path):
    (small / "lib/<script>alert(1)<\x1b\udcff>").write_text("x" * 9_000)
    manifest.write_contents(small)
    text = report(tmp_path, small)
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "\x1b" not in text
    assert "from other 2.0" in text
    assert '<span class="host">host</span>' in text


def test_page_has_the_facts_that_manifest_prints(small, tmp_path, capsys):
    record = json.loads((small / "rezbuild.json").read_text())
    record |= {"linker": "GNU ld 2.40", "flags": {"CFLAGS": "-O2", "LDFLAGS": "-Wl,-z,now"}}
    (small / "rezbuild.json").write_text(json.dumps(record))
    text = report(tmp_path, small)
    capsys.readouterr()
    assert main.main(["manifest", str(small)]) == 0
    shown = capsys.readouterr().out
    for name, value in payload_facts.gather(small).inputs:
        assert not value or f'<th scope="row">{name.capitalize()}</th><td><code>{value}<' in text
        assert not value or re.search(rf"(?m)^{name} +{re.escape(value.splitlines()[0])}", shown)


def test_damaged_records_do_not_end_the_report(small, tmp_path):
    record = json.loads((small / "rezbuild.json").read_text())
    for name in ("flags", "dependencies", "options"):
        (small / "rezbuild.json").write_text(json.dumps({**record, name: ["x"], "extra": 3}))
        report(tmp_path, small)
    source = {"urls": 3, "file": ["x"]}
    (small / "rezbuild.json").write_text(json.dumps({**record, "source": source}))
    (small / manifest.CONTENTS).write_text("[]")
    (small / "rezbuild-sbom.cdx.json").write_text('{"components": [{"properties": [3]}]}')
    report(tmp_path, small)


def test_page_of_all_repositories_lists_installed_packages(tmp_path, monkeypatch):
    repository = tmp_path / "packages"
    root = variant_root(repository, "zlib", "1.3.1")
    payload(root, name="zlib", version="1.3.1", glibc="2.14", compiler="gcc 12")
    definition = f"name = 'zlib'\nversion = '1.3.1'\nvariants = [{list(root.parts[-2:])}]\n"
    (repository / "zlib/1.3.1/package.py").write_text(definition)
    monkeypatch.setattr(config, "packages_path", [str(repository), str(tmp_path / "none")])
    forget()
    text = report(tmp_path, "--all")
    assert f"{repository}</h2>" in text
    assert "<td>2.14</td>" in text
    assert re.search(r'<span class="bad">outdated</span>.*is pinned', text, re.DOTALL)


def test_treemap_has_the_sizes_of_the_whole_tree():
    sizes = {f"lib/{n:03}/f{m}": n + m for n in range(40) for m in range(3)} | {
        "bin/p": 9999,
        "e": 0,
    }
    found = treemap.cells(sizes)
    assert sum(cell.size for cell in found) == sum(sizes.values())
    assert found[0] == treemap.Cell("bin/p", 9999, 1)
    assert "lib/(others)" in {cell.path for cell in found}
    picture = ET.fromstring(treemap.svg(found, "a < b"))
    areas = [
        float(box.get("width")) * float(box.get("height"))
        for box in picture.findall(f"{SVG}g/{SVG}rect")
    ]
    assert len(areas) == len(found)
    assert areas[0] / sum(areas) == pytest.approx(9999 / sum(sizes.values()), rel=0.02)
    assert treemap.svg([], "nothing")


def test_comparison_lists_changed_facts_files_and_symbols(small, tmp_path, compile_c):
    new = payload(tmp_path / "new", name="small", version="2.0", glibc="2.40")
    compile_c.library(f"{new}/lib/libx.so", source="int b(void) { return 1; }\n")
    compile_c.library(f"{small}/lib/libx.so", source="int a(void) { return 1; }\n")
    (new / "bin/program").write_text("#!/bin/sh\necho 43\n")
    (new / "bin/link").unlink()
    (new / "bin/link").symlink_to("real")
    for root in (small, new):
        manifest.write_contents(root)
    old_facts, new_facts = payload_facts.gather(small), payload_facts.gather(new)
    topics = comparison.compare(old_facts, new_facts)
    facts = {change.name: (change.old, change.new) for change in topics["Facts"]}
    assert facts == {"version": ("1.0", "2.0"), "glibc": (None, "2.40")}
    (exported,) = [one for one in topics["Exported symbols"] if one.name == "lib/libx.so"]
    assert (exported.old, exported.new) == (["a"], ["b"])
    assert [(one.name, one.kind) for one in topics["Patches"]] == [("a.patch", "removed")]
    files = {change.name: change for change in comparison.files(old_facts, new_facts)}
    assert files["bin/real"].kind == "removed"
    assert files["bin/link"].new == "real"
    assert "-echo 42" in files["bin/program"].detail
    assert "lib/library.so" not in files
    text = report(tmp_path, small, new)
    assert "Changes from small 1.0 to small 2.0" in text


def test_equal_payloads_have_no_change(small, tmp_path):
    assert report(tmp_path, small, small).count("No change.") == 7


def test_timeline_of_the_build_is_found_by_time(tmp_path):
    began = time.time() - 100
    bar = Bar("small-1.0@host", "small", "", 2.0, 7.0, gantt.BUILT, critical=True)
    run = Timeline("build", float(int(began)), 2, (bar,), ("small-1.0",))
    timeline.write_to_cache(run, tmp_path)
    (tmp_path / timeline.FOLDER / "x.json").write_text('{"began": "never"}')
    assert timeline.find(tmp_path, "small-1.0", began + 5) == run
    assert timeline.find(tmp_path, "small-1.0", began + 50) is None
    assert timeline.find(tmp_path, "other-1.0", began + 5) is None


def test_page_shows_the_timeline_of_the_cache(small, tmp_path, monkeypatch):
    monkeypatch.setenv("REZBUILD_CACHE", str(tmp_path / "cache"))
    assert "Timeline of the build" not in report(tmp_path, small)
    now = time.time()
    bar = Bar("small-1.0", "small", "", 0.0, 7.0, gantt.BUILT, critical=True)
    timeline.write_to_cache(Timeline("build", now - 3, 2, (bar,), ()), tmp_path / "cache")
    os.utime(small / "rezbuild.json", (now, now))
    assert "Timeline of the build" in report(tmp_path, small)


def test_page_shows_the_results_of_bench(small, tmp_path):
    data = tmp_path / "bench.json"
    both = (sys.executable, "--against", sys.executable)
    argv = ["bench", *both, "--only", "start", "--rounds", "2", "--json", str(data)]
    assert main.main(argv) == 0
    text = report(tmp_path, small, "--bench", data)
    assert 'id="bench"' in text
    assert "relative to" in text


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ((), "0 payloads are named"),
        (("--all", "x"), "--all takes no requests"),
        (("--all", "--bench", "x"), "--bench belongs to one payload"),
        (("/", "/", "/"), "3 payloads are named"),
        (("/usr",), "/usr is not a payload of rezbuild"),
    ],
)
def test_wrong_arguments_are_refused(argv, message, capsys, tmp_path):
    assert main.main(["report", *argv, "-o", str(tmp_path / "x.html")]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '{"interpreters": [], "machine": {}, "measurements": [], "left_out": []}',
    ],
)
def test_other_file_than_that_of_bench_is_refused(text, small, tmp_path, capsys):
    (tmp_path / "x.json").write_text(text)
    assert main.main(["report", str(small), "--bench", str(tmp_path / "x.json")]) == 2
    assert "x.json cannot be read" in capsys.readouterr().err
    assert not Path("report.html").exists()


def test_missing_template_library_is_named_with_the_command(small, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "jinja2", None)  # as the import system marks it
    assert main.main(["report", str(small)]) == 10
    assert "requires the library jinja2" in (said := capsys.readouterr().err)
    assert "[report]" in said


def test_page_that_cannot_be_written_is_an_error(small, tmp_path, capsys):
    assert main.main(["report", str(small), "-o", str(tmp_path / "none/x.html")]) == 10
    assert "No such file" in capsys.readouterr().err
