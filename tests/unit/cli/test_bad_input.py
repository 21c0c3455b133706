"""Invalid catalogues, requests and variables give advice, never a traceback."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from fuzz import examples
from hypothesis import example, given
from hypothesis import strategies as st

from rezbuild.catalogue import model, platform_years, sources_toml
from rezbuild.cli import doctor, main
from rezbuild.errors import CatalogueError, RezbuildError, UsageError
from rezbuild.plan import matrix, resolve
from rezbuild.settings import Settings
from rezbuild.util.terminal import printable, printable_line

PACKAGES = Path(__file__).parents[3] / "packages"
Raised = TypeVar("Raised", bound=RezbuildError)
SUM = "0123456789abcdef" * 4
GOOD: dict[str, Any] = {
    "default": "1.2.3",
    "license": "Zlib",
    "file": "thing-{version}.tar.gz",
    "urls": ["https://example.invalid/{series}/{file}"],
    "requires": ["other-1"],
    "profiled": True,
    "signed": {"suffix": ".sigstore", "identity": "me", "issuer": "https://example.invalid"},
    "series": {"1.2": {"license": "MIT"}},
    "versions": {
        "1.2.3": {
            "sha256": SUM,
            "size": 10,
            "tested": {
                "on": "2026-12-01",
                "host": "debian12",
                "profile": ["fast"],
                "suites": ["e2e"],
            },
        },
        "1.1.1w": {
            "sha256": SUM,
            "debian": {"source": "thing", "file": "thing.orig.tar.gz", "sha256": SUM[::-1]},
        },
    },
}
YEARS = {"versions": {"2025": {"requires": ["~python-3.11"], "glibc": "2.28", "draft": True}}}

MATRIX = {
    "repository": "/mnt/{host}/{profile}",
    "sets": {
        "one": {
            "requests": ["thing-1"],
            "profiles": ["fast", "optimized"],
            "hosts": ["here", "there"],
            "repository": "of {host} {profile}",
        }
    },
}


def toml(value: Any) -> str:
    """Return a value as TOML; tables are inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float):
        return repr(value).replace("e", "e+") if "e" in repr(value) else repr(value)
    return json.dumps(value)


def document(table: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in table.items())


def load(folder: Path, text: str | bytes) -> model.Recipe:
    place = folder / "thing"
    place.mkdir(exist_ok=True)
    data = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
    (place / "sources.toml").write_bytes(data)
    return sources_toml.load(place)


def refusal(kind: type[Raised], call: Callable[..., object], *arguments: Any) -> Raised | None:
    """Return the error that a call raises, or None; other errors fail the test."""
    try:
        call(*arguments)
    except kind as error:
        assert error.advice  # noqa: PT017 (None is fine as well)
        return error
    return None


# Catalogues

ODD = [
    *("", " ", "..", "/", "1.2.3", "latest", "{version}", "{", "{version!r}", "{0}", "{}"),
    *("{version:>9}", "https://a b/", "https://[", "HTTPS://X", "file:///x", SUM.upper()),
    *("https://h:x/", "https://u:p@h/", "\u0661.\u0662", "9" * 5000, "-1", "a-==", "a-1<2>3"),
]
SCALARS = st.one_of(
    st.text(max_size=12),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.sampled_from(ODD),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=4,
)


def places(table: Any, here: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(table, dict):
        return [here]
    below = [place for key, value in table.items() for place in places(value, (*here, key))]
    return [here, *below] if here else below


def change(table: Any, place: tuple[str, ...], value: Any) -> Any:
    if not place:
        return value
    return {**table, place[0]: change(table[place[0]], place[1:], value)}


@examples
@given(place=st.sampled_from(places(GOOD)), value=VALUES, key=st.text(max_size=6))
@example(place=("urls",), value=["https://h/{version:{series}}"], key="")
@example(place=("urls",), value=["https://h/{version:>999999999}"], key="")
@example(place=("versions",), value={"\u0661.\u0662": {"sha256": SUM}}, key="")
def test_any_catalogue_is_read_or_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory, place: tuple[str, ...], value: Any, key: str
) -> None:
    folder = tmp_path_factory.mktemp("any")
    for table in (change(GOOD, place, value), {**change(GOOD, place, value), key: value}):
        refused = refusal(CatalogueError, load, folder, document(table))
        if refused:
            assert str(folder / "thing" / "sources.toml") in refused.message
            continue
        recipe = sources_toml.load(folder / "thing")
        for release in recipe.releases.values():
            assert all(re.fullmatch("[0-9a-f]{64}", a.sha256) for a in release.archives)
            assert all(url.startswith("https://") for a in release.archives for url in a.urls)
            assert all("/" not in a.file for a in release.archives)
        refusal(CatalogueError, resolve.plan, {"thing": recipe}, ["thing"], lambda *_: True)


@examples
@given(
    cut=st.integers(0, 800),
    noise=st.binary(max_size=8),
    again=st.integers(0, 20),
)
def test_any_damage_of_a_catalogue_is_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory, cut: int, noise: bytes, again: int
) -> None:
    data = document(GOOD).encode()
    folder = tmp_path_factory.mktemp("any")
    for text in (data[:cut] + noise + data[cut + again :], data[:cut] + noise):
        refused = refusal(CatalogueError, load, folder, text)
        assert refused is None or str(folder / "thing" / "sources.toml") in refused.message


@examples
@given(place=st.sampled_from(places(YEARS)), value=VALUES)
@example(place=("versions",), value={"9" * 5000: {"requires": ["a-1"], "glibc": "2.28"}})
def test_any_platform_is_read_or_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory, place: tuple[str, ...], value: Any
) -> None:
    folder = tmp_path_factory.mktemp("years")
    text = document(change(YEARS, place, value))
    (folder / platform_years.FILE_NAME).write_bytes(text.encode(errors="surrogatepass"))
    refused = refusal(CatalogueError, platform_years.load, folder)
    assert refused is None or str(folder / platform_years.FILE_NAME) in refused.message


@examples
@given(place=st.sampled_from(places(MATRIX)), value=VALUES, more=st.text(max_size=6))
@example(place=("sets",), value={"a": {"requests": ["thing"], "repository": "~x/"}}, more="")
@example(place=("sets", "one", "requests"), value=["thing-1", "9" * 5000], more="")
def test_any_matrix_is_planned_or_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory, place: tuple[str, ...], value: Any, more: str
) -> None:
    folder = tmp_path_factory.mktemp("matrix")
    recipe = load(folder, document({**GOOD, "requires": []}))
    file = folder / "matrix.toml"
    table = {**change(MATRIX, place, value), **({more: value} if more else {})}
    file.write_bytes(document(table).encode(errors="surrogatepass"))

    def plan() -> None:
        targets = matrix.load(file, Settings(cache=folder, host="here"), release=False)
        assert all(Path(t.target.repository or "/").is_absolute() for t in targets)
        given = ({"thing": recipe}, {}, lambda _: lambda *_: True)
        matrix.plan(targets, *given, lambda target: Path(target.repository or "/rez"))

    refused = refusal(CatalogueError, plan)
    assert refused is None or str(file) in refused.message


UNREADABLE = {
    "tables in tables": "a = " + "[" * 100_000,
    "a number of 5000 digits": "size = " + "9" * 5000,
    "not UTF-8": b'license = "\xff"',
    "a version twice": '[versions."1.2.3"]\n[versions."1.2.3"]\n',
    "a version twice, in other words": "[versions]\n'1.2.3' = {}\n\"1.2.3\" = {}\n",
    "a zero byte": "a = '\0'",
    "nothing": "",
    "only a mark of byte order": b"\xef\xbb\xbf",
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_file_that_is_no_catalogue_is_refused(tmp_path: Path, case: str) -> None:
    with pytest.raises(CatalogueError, match=r"cannot be read|is missing") as caught:
        load(tmp_path, UNREADABLE[case])
    assert caught.value.advice
    assert caught.value.exit_code == 3


def test_folder_instead_of_a_catalogue_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sources.toml").mkdir()
    with pytest.raises(CatalogueError, match="cannot be read"):
        sources_toml.load(tmp_path)


@pytest.mark.parametrize("form", ["!r", ":>9", ":>999999999", ":{series}", ":{nothing}", ":d"])
@pytest.mark.parametrize("key", ["file", "urls"])
def test_pattern_with_a_format_is_refused(tmp_path: Path, key: str, form: str) -> None:
    """One of them would print a gigabyte of spaces."""
    value = f"https://h/{{version{form}}}"
    table = change(GOOD, (key,), [value] if key == "urls" else value)
    with pytest.raises(CatalogueError, match="pattern with a format"):
        load(tmp_path, document(table))


def test_two_versions_with_one_file_name_are_refused(tmp_path: Path) -> None:
    """Each version would delete the other's file from the cache as damaged."""
    table = change(GOOD, ("file",), "thing.tar.gz")
    load(tmp_path, document(table))
    table["versions"]["1.1.1w"]["sha256"] = SUM[::-1]
    with pytest.raises(CatalogueError, match=r"1\.1\.1w has the file .* another sha256 than 1.2.3"):
        load(tmp_path, document(table))


@pytest.mark.parametrize("name", ["Thing", "my thing", "thing-1", "1thing", "gr\u00fcn", "a\nb"])
def test_folder_with_an_invalid_package_name_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "sources.toml").write_text(document(GOOD))
    with pytest.raises(CatalogueError, match="name is not a package name"):
        sources_toml.load(folder)


def test_invalid_request_in_a_catalogue_is_refused(tmp_path: Path) -> None:
    recipe = load(tmp_path, document({**GOOD, "requires": ["other-1<2>3"]}))
    with pytest.raises(CatalogueError, match=r"sources\.toml: requires of 1\.2\.3: ") as caught:
        resolve.plan({"thing": recipe}, ["thing"], lambda *_: True)
    assert caught.value.advice


# Requests


@functools.lru_cache(maxsize=1)
def our_recipes() -> resolve.Recipes:
    return resolve.recipes(PACKAGES)


@examples
@given(
    text=st.one_of(
        st.text(max_size=12),
        st.text("pyt.-<>=,|!~+ 0139\n\0()@*", max_size=12),
        st.builds("python-{}".format, st.text(".-<>=,|+0139a", max_size=12)),
    )
)
@example(text="python-" + "9" * 5000)
@example(text="python-" + "1." * 3000 + "1")
@example(text="\udcff")
def test_any_request_is_planned_or_refused(text: str) -> None:
    refused = refusal(RezbuildError, resolve.plan, our_recipes(), [text], lambda *_: True)
    assert refused is None or refused.exit_code in (2, 3)


# Variables

VARIABLES = [
    *("CACHE", "MIRRORS", "OFFLINE", "JOBS", "PROFILE", "CCACHE", "GLIBC_MAX", "CC", "CXX"),
    *("CONNECT_TIMEOUT", "READ_TIMEOUT", "RETRIES", "MIN_SPEED", "MAX_SIZE"),
]
ENVIRON = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@examples
@given(
    name=st.sampled_from(VARIABLES),
    value=st.one_of(
        ENVIRON,
        st.integers().map(str),
        st.floats().map(str),
        st.sampled_from(["~nobody-at-all/x", "9" * 5000, "1e308", "1e-320", "\u00b2", "\u0661"]),
    ),
)
def test_any_variable_is_accepted_or_named(name: str, value: str) -> None:
    variable = f"REZBUILD_{name}"
    refused = refusal(UsageError, Settings.read, {variable: value})
    if refused:
        assert variable in refused.message
        assert len(refused.message) < 300
        return
    found = Settings.read({variable: value})
    assert 0 < found.read_timeout <= 86400
    assert 0 < found.connect_timeout <= 86400
    assert (found.jobs or 1) in range(1, 4097)
    assert found.cache.is_absolute()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JOBS", "9" * 5000),
        ("JOBS", "100000"),
        ("JOBS", "\u0661\u0662"),
        ("RETRIES", "9" * 5000),
        ("RETRIES", "1001"),
        ("CONNECT_TIMEOUT", "1e308"),
        ("READ_TIMEOUT", "86401"),
        ("MIN_SPEED", "-1"),
        ("MIN_SPEED", "fast"),
        ("MAX_SIZE", "0"),
        ("CACHE", "~nobody-at-all/x"),
        ("MIRRORS", "/a ~nobody-at-all/x"),
        ("CCACHE", "~nobody-at-all/ccache"),
        ("MIRRORS", "ftp://mirror.invalid/"),
        ("MIRRORS", "mirror.invalid:/export"),
        ("MIRRORS", "https:/mirror.invalid"),
    ],
)
def test_invalid_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"REZBUILD_{name}") as caught:
        Settings.read({f"REZBUILD_{name}": value})
    assert caught.value.advice
    assert len(caught.value.message) < 300


def test_mirror_without_a_scheme_is_not_shown() -> None:
    with pytest.raises(UsageError, match="mirror 2 of REZBUILD_MIRRORS is neither") as caught:
        Settings.read({"REZBUILD_MIRRORS": "/mnt/sources me:hu5h@mirror.invalid/m"})
    assert "hu5h" not in str(caught.value)


@pytest.mark.parametrize(
    "value", ["/a:b", "./a:b", "https://x/y", "HTTP://x", "file:/x", "FILE:///x", "a", "~/x"]
)
def test_valid_mirrors_are_accepted(value: str) -> None:
    (found,) = Settings.read({"REZBUILD_MIRRORS": value}).mirrors
    assert found == value or Path(found).is_absolute()


def test_limits_are_settings() -> None:
    found = Settings.read({"REZBUILD_MIN_SPEED": "0", "REZBUILD_MAX_SIZE": "7"})
    assert (found.min_speed, found.max_size) == (0, 7)
    assert (Settings.read({}).min_speed, Settings.read({}).max_size) == (1000, 1000)


# The command line

COMMANDS: dict[str, tuple[list[str], int]] = {
    "no such package": (["fetch", "nothing-1"], 3),
    "no such version": (["fetch", "zlib-9"], 3),
    "no such year": (["fetch", "vfxplatform-1999"], 3),
    "no request": (["fetch", "<>"], 2),
    "a request of nothing": (["fetch", ""], 2),
    "what is not wanted": (["fetch", "~zlib"], 2),
    "a number of 5000 digits": (["fetch", "zlib-" + "9" * 5000], 2),
    "nothing to fetch": (["fetch"], 2),
    "no recipes": (["fetch", "zlib", "--recipes", "/etc/passwd"], 3),
    "jobs beyond all": (["build", "zlib", "--jobs", "9" * 5000], 2),
    "offline and empty": (["fetch", "zlib"], 4),
    "an empty folder's name": (["fetch", "zlib", "--to", ""], 2),
    "an empty place": (["export", "zlib", ""], 2),
    "no such folder": (["audit", "/no/such/folder"], 2),
    "a file": (["audit", "/etc/passwd"], 2),
    "no payload": (["check", "/etc"], 2),
    "no glibc": (["audit", "/etc/ssl", "--glibc-max", "9"], 2),
    "no year's glibc": (["audit", "/etc/ssl", "--glibc-max", "CY\n"], 2),
    "no such recipe": (["versions", "\udcff"], 3),
    "a place that is taken": (["export", "zlib", "/etc"], 2),
    "nothing to build": (["build"], 2),
    "nothing to plan": (["plan"], 2),
    "no such matrix": (["plan", "--matrix", "/no/such/file"], 3),
    "a matrix that is a folder": (["build", "--matrix", "/etc"], 3),
    "requests and a matrix": (["build", "zlib", "--matrix", "/etc/passwd"], 2),
    "a picture that is none": (["build", "zlib", "--timeline", "/tmp/a.png"], 2),
    "no workers": (["plan", "zlib", "--workers", "0"], 2),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_invalid_command_gives_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], case: str
) -> None:
    monkeypatch.setenv("REZBUILD_OFFLINE", "1")
    monkeypatch.setenv("REZBUILD_CACHE", str(tmp_path))
    argv, code = COMMANDS[case]
    try:
        status = main.main(argv)
    except SystemExit as error:  # argparse
        status = int(str(error.code))
    said = capfd.readouterr().err
    assert status == code
    assert "Traceback" not in said
    assert "defect" not in said
    assert "next: " in said or "usage: " in said


def test_defect_prints_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def raise_defect(_: object) -> int:
        raise KeyError("what nobody has thought of")

    monkeypatch.delenv("REZBUILD_TRACE", raising=False)
    monkeypatch.setattr(doctor, "run", raise_defect)  # no real defect would stay in the code
    assert main.main(["doctor"]) == 1
    said = capsys.readouterr().err
    assert "a defect of rezbuild itself: KeyError: 'what nobody has thought of'" in said
    assert "REZBUILD_TRACE=1" in said
    monkeypatch.setenv("REZBUILD_TRACE", "1")
    with pytest.raises(KeyError):
        main.main(["doctor"])


def in_a_process(*argv: bytes | str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rezbuild", *argv],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        errors="strict",
        check=False,
    )


def test_names_that_are_not_text_are_printed_on_any_terminal(tmp_path: Path) -> None:
    """The name of a folder is bytes, and standard output may be ASCII only."""
    odd = os.fsencode(tmp_path) + b"/l\xe4tin\x1b[2J\nerror: gr\xc3\xbcn"
    folder = Path(os.fsdecode(odd))
    folder.mkdir()
    (folder / os.fsdecode(b"l\xe4nk\nok")).symlink_to(os.fsdecode(b"/nowhere\xff"))
    done = in_a_process("audit", odd, PYTHONIOENCODING="ascii")
    assert done.returncode == 9, done.stderr
    assert "Traceback" not in done.stderr
    assert r"l\xe4nk\nok" in done.stdout
    assert "\x1b" not in done.stdout
    assert not any(line.startswith("error: gr") for line in done.stdout.splitlines())


def test_error_contains_no_escape_sequences(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["fetch", "zlib", "--recipes", str(tmp_path / "no\x1b[2J")]) == 3
    said = capfd.readouterr().err
    assert r"no\x1b[2J contains no recipes" in said
    assert "\x1b" not in said


@pytest.mark.parametrize("builder", ["", "https://a b", "studio"])
def test_builder_that_is_no_uri_is_refused(builder, capsys):
    with pytest.raises(SystemExit, match="2"):
        main.main(["manifest", ".", "--provenance", "--builder", builder])
    assert "argument --builder: must be a URI such as https://" in capsys.readouterr().err


def test_builder_requires_provenance(capsys):
    assert main.main(["manifest", ".", "--builder", "https://ci.example"]) == 2
    assert "--builder requires --provenance" in capsys.readouterr().err


def test_folder_as_a_lock_file_is_refused_before_a_download(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("REZBUILD_RECIPES", str(PACKAGES))
    above = tmp_path / "a b"
    above.mkdir()
    assert main.main(["lock", "zlib", "-o", str(above)]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert f"{above} is a folder" in err
    assert f"next:  name a file: -o '{above}/rezbuild.lock'" in err


def test_advice_quotes_a_folder_with_a_space(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("REZBUILD_RECIPES", str(PACKAGES))
    assert main.main(["lock", "zlib", "-o", str(tmp_path / "a b/zlib.lock")]) == 2
    assert f"mkdir -p '{tmp_path}/a b'" in capsys.readouterr().err


def test_lock_file_in_a_missing_folder_is_refused_before_a_download(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REZBUILD_CACHE", str(tmp_path / "cache"))
    assert main.main(["lock", "zlib", "-o", str(tmp_path / "no/zlib.lock")]) == 2
    assert f"the folder {tmp_path}/no does not exist" in capfd.readouterr().err
    assert not (tmp_path / "cache/sources").exists()


def test_secrets_and_controls_are_not_printed(tmp_path: Path) -> None:
    """This tests the whole way from the environment to the message, with our own recipe."""
    recipe = tmp_path / "recipes" / "thing"
    recipe.mkdir(parents=True)
    (recipe / "sources.toml").write_text(document({**GOOD, "requires": []}))
    cache = tmp_path / "ca\x1b[2Jche"
    (cache / "sources/thing").mkdir(parents=True)
    (cache / "sources/thing/thing-1.2.3.tar.gz").write_text("damaged")
    done = in_a_process(
        *("fetch", "thing-1.2.3", "--recipes", str(recipe.parent)),
        REZBUILD_CACHE=str(cache),
        REZBUILD_OFFLINE="1",
        REZBUILD_MIRRORS="https://me:hu5h@mirror.invalid/m?token=hu5h http://x:hu5h/@h/",
    )
    assert done.returncode == 4
    told = done.stdout + done.stderr
    assert "hu5h" not in told
    assert "https://mirror.invalid/m: skipped" in told
    assert "\x1b" not in told
    assert r"ca\x1b[2Jche" in told
    assert "Traceback" not in told


@examples
@given(text=st.text(max_size=30))
def test_escaped_text_is_printable_anywhere(text: str) -> None:
    shown = printable(text)
    shown.encode()
    assert not re.search("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown)
    assert len(printable_line(text).splitlines()) <= max(1, len(re.split("[\u2028\u2029]", text)))


def test_bytes_of_names_are_escaped() -> None:
    assert printable("a\udcffb\x1b\ud800\n") == "a\\xffb\\x1b\\ud800\n"
    assert printable_line("a\nb\tc\u202e") == r"a\nb\tc" + "\\u202e"
