"""The audit rules on hardening, exported symbols and glibc, broken by real files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rezbuild import audit
from rezbuild.audit import glibc, show
from rezbuild.elf import reader
from rezbuild.errors import AuditError

GETPID = "#include <unistd.h>\nint f(void) { return getpid(); }\n"


@pytest.fixture
def payload(tmp_path) -> Path:
    folder = tmp_path / "payload"
    (folder / "lib").mkdir(parents=True)
    return folder


def find_broken(payload: Path, **options) -> set[tuple[str, str, str]]:
    report = audit.audit(payload, **options)
    return {(one.rule.id, one.path, one.severity) for one in report.findings}


@pytest.mark.parametrize(("own", "severity"), [(True, "error"), (False, "note")])
@pytest.mark.parametrize(("flag", "rule"), [("norelro", "relro"), ("lazy", "bind-now")])
def test_missing_hardening_is_an_error_in_our_payloads_and_a_note_elsewhere(
    payload, compile_c, flag, rule, own, severity
):
    compile_c.library(f"{payload}/lib/libx.so", f"-Wl,-z,{flag}")
    compile_c.program(f"{payload}/bin/x", f"-Wl,-z,{flag}")
    wanted = {(rule, path, severity) for path in ("lib/libx.so", "bin/x")}
    assert find_broken(payload, own=own) >= wanted
    assert {path for r, path, _ in find_broken(payload, own=own) if r == rule} == {
        "lib/libx.so",
        "bin/x",
    }


def test_folder_with_a_record_counts_as_ours(payload, compile_c):
    compile_c.library(f"{payload}/lib/libx.so", "-Wl,-z,lazy")
    assert find_broken(payload) == {("bind-now", "lib/libx.so", "note")}
    (payload / "rezbuild.json").write_text("{}")
    assert find_broken(payload) == {("bind-now", "lib/libx.so", "error")}


def test_exported_symbol_of_a_bundled_library_is_an_error(payload, compile_c):
    both = "int far(void) { return 1; }\n"
    compile_c.library(f"{payload}/deps/far/1/lib/libfar.so.1", source=both)
    compile_c.library(
        f"{payload}/lib/libx.so", source=f"{both}int near(void) {{ return far(); }}\n"
    )
    (finding,) = audit.audit(payload).findings
    assert (finding.rule.id, finding.path) == ("symbol-exported", "lib/libx.so")
    assert "1 symbol of deps/far/1/lib/libfar.so.1: far" in finding.message


@pytest.mark.parametrize(
    "source",
    [
        "static int far(void) { return 1; }\nint near(void) { return far(); }\n",
        """int far(void) __attribute__((visibility("hidden")));
        int far(void) { return 1; }
        int near(void) { return far(); }""",
        "int near(void) { return 1; }\nvoid _init(void) {}\nint _edata, __bss_start;\n",
    ],
)
def test_hidden_and_linker_symbols_are_not_exports(payload, compile_c, source):
    theirs = "int far(void) { return 1; }\nvoid _init(void) {}\nint _edata, __bss_start;\n"
    compile_c.library(f"{payload}/deps/far/1/lib/libfar.so.1", source=theirs)
    compile_c.library(f"{payload}/lib/libx.so", source=source)
    assert find_broken(payload) == set()


def test_symbols_of_a_program_are_not_exports(payload, compile_c):
    """No program loads it; data of its libraries is copied into it under the same name."""
    compile_c.library(f"{payload}/deps/far/1/lib/libfar.so.1", source="int far = 1;\n")
    source = "int far = 2;\nint main(void) { return far; }\n"
    compile_c.program(f"{payload}/bin/x", "-rdynamic", source=source)
    assert find_broken(payload) == set()


def version_of(path: Path) -> str:
    (version,) = {name for _, name in reader.read(path).versions}
    return version.partition("_")[2]


def test_needed_glibc_is_reported_with_its_cause(payload, compile_c):
    compile_c.library(f"{payload}/lib/libold.so", "-lc", source=GETPID)
    compile_c.library(f"{payload}/lib/libplain.so")
    old = version_of(payload / "lib/libold.so")
    needs = audit.audit(payload).needs
    assert (needs.glibc, needs.because) == (old, {"lib/libold.so": ("getpid",)})
    assert show.needs(needs) == f"needs glibc {old}, because of lib/libold.so (getpid)"


def test_payload_without_glibc_symbols_needs_none(payload, compile_c):
    compile_c.library(f"{payload}/lib/libx.so")
    report = audit.audit(payload, ceiling="2.0")
    assert (report.needs.glibc, report.findings) == (None, ())
    assert show.needs(report.needs) == "needs no particular glibc"


def with_version(compile_c, path: Path, name: str, version: str) -> None:
    """Compile a library that needs ``name`` of a made-up libc.so.6, in any version."""
    folder = path.parents[2] / "made"
    folder.mkdir(exist_ok=True)
    (folder / "map").write_text(f"{version} {{ global: *; }};\n")
    source = f"int {name}(void) {{ return 1; }}\n"
    flags = (f"-Wl,--version-script={folder}/map", "-Wl,-soname,libc.so.6")
    libc = compile_c(f"{folder}/libc.so.6", source, "-shared", "-fPIC", "-nostdlib", *flags)
    calls = f"int {name}(void);\nint f(void) {{ return {name}(); }}\n"
    compile_c.library(str(path), str(libc), source=calls)


@pytest.mark.parametrize(
    ("version", "ceiling", "over"),
    [
        ("GLIBC_2.34", "2.28", True),
        ("GLIBC_2.34", "2.34", False),
        ("GLIBC_2.9", "2.28", False),
        ("GLIBC_2.28.1", "2.28", True),
        ("GLIBC_2.100", "2.28", True),
        ("GLIBC_ABI_DT_RELR", "2.35", True),
        ("GLIBC_ABI_DT_RELR", "2.36", False),
        ("GLIBC_ABI_OF_TOMORROW", "2.36", True),
    ],
)
def test_glibc_limit_is_applied(payload, compile_c, version, ceiling, over):
    with_version(compile_c, payload / "lib/libx.so", "new", version)
    with_version(compile_c, payload / "lib/libz.so", "old", "GLIBC_2.2.5")
    report = audit.audit(payload, ceiling=ceiling)
    assert [(one.rule.id, one.path) for one in report.errors] == (
        [("glibc-ceiling", "lib/libx.so")] if over else []
    )
    assert all(f"more than {ceiling}: {version} (new)" == one.message for one in report.errors)
    if not version.startswith("GLIBC_ABI_OF"):
        assert report.needs.over(ceiling) == over
    assert audit.audit(payload).errors == ()


def test_private_glibc_symbols_are_errors(payload, compile_c):
    with_version(compile_c, payload / "lib/libx.so", "secret", "GLIBC_PRIVATE")
    (finding,) = audit.audit(payload).findings
    assert (finding.rule.id, finding.message) == ("glibc-private", "GLIBC_PRIVATE (secret)")
    # This version is no number, so it does not limit glibc.
    assert audit.audit(payload).needs.glibc is None


def test_cxx_runtime_versions_are_reported(payload, compile_c):
    source = '#include <string>\nstd::string f(int x) { return std::to_string(x) + "!"; }\n'
    compile_c(f"{payload}/lib/libx.so", source, "-shared", "-fPIC", "-lstdc++", language="c++")
    needs = audit.audit(payload).needs
    assert needs.others["GLIBCXX"].startswith("3.4.")
    assert f"GLIBCXX {needs.others['GLIBCXX']}" in show.needs(needs)
    # A library of the payload is not needed from the host.
    compile_c.library(f"{payload}/lib/libstdc++.so.6")
    assert "GLIBCXX" not in audit.audit(payload).needs.others


def test_glibc_limit_applies_to_a_record_alone():
    record = {"glibc": "2.34", "glibc_because": {"lib/libx.so": ["pthread_create"]}}
    glibc.check_record("x-1", record, "2.34")
    glibc.check_record("x-1", record, None)
    glibc.check_record("x-1", {}, "2.1")
    with pytest.raises(AuditError, match=r"x-1 needs glibc 2\.34.* is 2\.28") as caught:
        glibc.check_record("x-1", record, "2.28")
    assert caught.value.tried == ("lib/libx.so: pthread_create",)


def test_json_lists_every_finding(payload, compile_c):
    compile_c.library(f"{payload}/lib/libold.so", "-lc", source=GETPID)
    for number in range(30):
        (payload / f"link{number}").symlink_to("/nowhere")
    report = audit.audit(payload)
    data = json.loads(json.dumps(show.as_data(payload, report)))
    assert len(data["findings"]) == 60
    assert data["glibc"] == report.needs.glibc
    assert data["glibc_because"] == {"lib/libold.so": ["getpid"]}
    lines = list(show.lines(payload, report))
    one = "30 files: it leads to /nowhere: link0, link1, link10, ..."
    assert [line for line in lines if "link-absolute:" in line] == [f"error: link-absolute: {one}"]
    assert "  link-absolute (30): it leads back to the old folder of the payload" in lines
    assert lines[-1] == f"{payload}: 60 errors, 0 notes"


def test_many_findings_are_summarized(payload):
    """Frequent findings are listed first, and omitted ones are counted."""
    for number in range(15):
        (payload / f"one{number}").symlink_to(f"/nowhere/{number}")
    for number in range(3):
        (payload / f"two{number}").symlink_to("/elsewhere")
    findings = audit.audit(payload).findings
    lines = [line for line in show.findings(findings) if "link-absolute:" in line]
    assert lines[0] == "error: link-absolute: 3 files: it leads to /elsewhere: two0, two1, two2"
    assert lines[1] == "error: link-absolute: one0: it leads to /nowhere/0"
    assert lines[-1] == "error: link-absolute: ... and 6 more (--json has them all)"
    assert len(lines) == 11
