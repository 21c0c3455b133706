"""Matrix files: requests for profiles, host kinds and repositories in one plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from rezbuild.catalogue import platform_years
from rezbuild.errors import CatalogueError, UsageError
from rezbuild.plan import matrix, resolve
from rezbuild.plan.resolve import Target
from rezbuild.settings import Settings

SUM = "0" * 64
MATRIX = """\
repository = "packages/{host}/{profile}"
profiles = ["fast", "optimized"]
[sets.old]
requests = ["years-2025"]
hosts = ["debian12", "rocky8"]
[sets.new]
requests = ["years-2026", "tool-2"]
profiles = ["fast"]
repository = "~/new"
"""


@pytest.fixture
def recipes(tmp_path) -> Path:
    """Make recipes; ``tool`` depends on the profile and is built against ``base``."""
    folder = tmp_path / "recipes"
    for name, profiled, versions in (
        ("base", "false", {"1.0": "", "1.1": ""}),
        ("tool", "true", {"1.0": '"base-1"', "2.0": '"base-1"'}),
    ):
        text = f'default = "1.0"\nlicense = "MIT"\nfile = "{name}-{{version}}.tar.gz"\n'
        text += f'urls = ["https://example.invalid/{{file}}"]\nprofiled = {profiled}\n'
        for version, requires in versions.items():
            text += f'[versions."{version}"]\nsha256 = "{SUM}"\nrequires = [{requires}]\n'
        (folder / name).mkdir(parents=True)
        (folder / name / "sources.toml").write_text(text)
    (folder / "years").mkdir()
    (folder / "years/platform.toml").write_text(
        '[versions."2025"]\nrequires = ["~tool-1"]\nglibc = "2.28"\n'
        '[versions."2026"]\nrequires = ["~tool-2"]\nglibc = "2.28"\n'
    )
    return folder


@pytest.fixture
def defaults(tmp_path) -> Settings:
    return Settings(cache=tmp_path / "cache", host="here")


def load(tmp_path: Path, text: str, defaults: Settings, *, release: bool = False):
    file = tmp_path / "matrix.toml"
    file.write_text(text)
    return matrix.load(file, defaults, release=release)


def plan(recipes: Path, request_sets) -> matrix.Plan:
    return matrix.plan(
        request_sets,
        resolve.recipes(recipes),
        platform_years.find(recipes),
        lambda _: lambda *_: True,
        lambda target: Path(target.repository or "/rez"),
    )


def test_set_is_expanded_by_profile_and_host(tmp_path, defaults):
    request_sets = load(tmp_path, MATRIX, defaults)
    found = [
        (t.name, t.target.host, t.target.profile, t.target.repository, t.requests)
        for t in request_sets
    ]
    there = tmp_path / "packages"
    assert found == [
        *(
            ("old", host, profile, str(there / host / profile), ("years-2025",))
            for host in ("debian12", "rocky8")
            for profile in ("fast", "optimized")
        ),
        ("new", "here", "fast", str(Path("~/new").expanduser()), ("years-2026", "tool-2")),
    ]
    assert request_sets[0].where == f"{tmp_path}/matrix.toml: sets.old"


def test_missing_keys_have_defaults(tmp_path, defaults):
    """The defaults are this host, the profile of the command, and Rez's own repository."""
    text = '[sets.a]\nrequests = ["tool"]\n'
    (request_set,) = load(tmp_path, text, defaults)
    assert request_set.target == Target("here", "fast", "")
    assert request_set.target.name == ""
    (request_set,) = load(tmp_path, text, defaults, release=True)
    assert request_set.target.profile == "optimized"
    (request_set,) = load(
        tmp_path, text, Settings(cache=tmp_path, host="x", profile="fast"), release=True
    )
    assert (request_set.target.profile, request_set.target.host) == ("fast", "x")


def names(request_sets) -> list[str]:
    return [request_set.target.name for request_set in request_sets]


def test_target_names_are_as_short_as_possible(tmp_path, defaults):
    assert names(load(tmp_path, MATRIX, defaults)) == [
        *("debian12:fast", "debian12:optimized", "rocky8:fast", "rocky8:optimized", "here:fast")
    ]
    one = '[sets.a]\nrequests = ["tool"]\nrepository = "/{profile}"\n'
    two = one + 'profiles = ["fast", "optimized"]\n'
    assert names(load(tmp_path, two, defaults)) == ["fast", "optimized"]
    # Two sets with one target, and with two.
    same = one + one.replace("sets.a", "sets.b")
    assert names(load(tmp_path, same, defaults)) == ["", ""]
    apart = one + one.replace("sets.a", "sets.b").replace("/{profile}", "/other")
    assert names(load(tmp_path, apart, defaults)) == ["a", "b"]


def test_host_option_selects_hosts(tmp_path, defaults):
    request_sets = load(tmp_path, MATRIX, defaults)
    assert {t.target.host for t in matrix.only(request_sets, ["rocky8", "here"])} == {
        "rocky8",
        "here",
    }
    assert matrix.only(request_sets, []) == request_sets
    with pytest.raises(UsageError) as caught:
        matrix.only(request_sets, ["rocky9"])
    assert caught.value.advice == ("choose a host: debian12, rocky8, here",)


def test_all_sets_form_one_plan(tmp_path, defaults, recipes):
    request_sets = load(tmp_path, MATRIX, defaults)
    found = plan(recipes, request_sets)
    assert len({step.job for step in found.steps}) == len(found.steps) == 10
    assert {str(step) for step in found.steps} == {
        *(f"{p}@{t.target.name}" for t in request_sets[:4] for p in ("base-1.0", "tool-1.0")),
        *("base-1.0@here:fast", "tool-2.0@here:fast"),
    }
    done = set()
    for step in found.steps:
        assert done.issuperset(step.needs)
        done.add(step.job)
    assert [str(year) for year in found.years[request_sets[4].target]] == ["years-2026"]
    assert found.asked[4] == (request_sets[4].target, [("years", "2026"), ("tool", "2.0")])


def test_package_for_one_repository_is_built_once(tmp_path, defaults, recipes):
    text = (
        'repository = "/r"\n[sets.a]\nrequests = ["tool-1"]\n[sets.b]\n'
        'requests = ["base-1.0"]\n[sets.c]\nrequests = ["tool-2"]\n'
    )
    found = plan(recipes, load(tmp_path, text, defaults))
    assert [(str(s), s.requested) for s in found.steps] == [
        *(("base-1.0", True), ("tool-1.0", True), ("tool-2.0", True))
    ]


def test_package_without_profile_is_built_once(tmp_path, defaults, recipes):
    text = (
        'repository = "/r"\n[sets.a]\nrequests = ["tool-1"]\n[sets.b]\n'
        'requests = ["tool-2"]\nprofiles = ["optimized"]\n'
    )
    found = plan(recipes, load(tmp_path, text, defaults))
    assert [str(s) for s in found.steps] == ["base-1.0@fast", "tool-1.0@fast", "tool-2.0@optimized"]
    assert found.steps[2].needs == [found.steps[0].job]


CONFLICTS = {
    "against": (
        'repository = "/r"\nsets.a.requests = ["tool"]\nsets.b.requests = ["base-1.1", "tool"]',
        r"sets\.a and sets\.b: tool-1\.0 .*: against base-1\.0 and against base-1\.1",
    ),
    "profiles": (
        'repository = "/r"\n[sets.a]\nrequests = ["tool"]\nprofiles = ["fast", "optimized"]\n',
        r"sets\.a and sets\.a: tool-1\.0 would be built twice into /r: fast and optimized",
    ),
    "hosts": (
        'repository = "/r"\n[sets.a]\nrequests = ["tool"]\nhosts = ["x", "y"]\n',
        r"base-1\.0 would be built twice into /r: for x and for y",
    ),
    "two ways to write a folder": (
        """[sets]
        a = { requests = ["tool"], hosts = ["x"], repository = "/rez" }
        b = { requests = ["tool"], hosts = ["y"] }""",
        r"base-1\.0 would be built twice into /rez: for x and for y",
    ),
}


@pytest.mark.parametrize("case", CONFLICTS)
def test_conflicting_inputs_for_one_variant_are_refused(tmp_path, defaults, recipes, case):
    text, said = CONFLICTS[case]
    with pytest.raises(CatalogueError, match=said) as caught:
        plan(recipes, load(tmp_path, text, defaults))
    assert "{host} or {profile}" in caught.value.advice[0]


def test_repository_by_another_name_is_the_same(tmp_path, defaults, recipes):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    text = (
        '[sets.a]\nrequests = ["tool"]\nrepository = "link"\nprofiles = ["fast"]\n'
        '[sets.b]\nrequests = ["tool"]\nrepository = "real"\nprofiles = ["optimized"]\n'
    )
    with pytest.raises(CatalogueError, match="built twice"):
        plan(recipes, load(tmp_path, text, defaults))


@pytest.mark.parametrize("request_", ["nothing", "tool-9", "tool-<<", "!tool", "years-1999"])
def test_invalid_request_names_the_file(tmp_path, defaults, recipes, request_):
    request_sets = load(tmp_path, f'[sets.a]\nrequests = ["{request_}"]\n', defaults)
    with pytest.raises(CatalogueError, match=r"matrix\.toml: sets\.a\.requests: ") as caught:
        plan(recipes, request_sets)
    assert caught.value.advice


WRONG = {
    "no sets": ("", "sets: "),
    "sets is no table": ("sets = 1", "sets: "),
    "an empty table": ("[sets]", "sets: "),
    "an unknown key above": ('os = 1\n[sets.a]\nrequests = ["tool"]', "os: the key is unknown"),
    "requests above": ('requests = ["x"]\n[sets.a]', "requests: the key is unknown, or must"),
    "an unknown key": (
        '[sets.a]\nrequests = ["tool"]\nhost = "x"',
        r"sets\.a\.host: the key is unknown",
    ),
    "no requests": ("[sets.a]", r"sets\.a\.requests: "),
    "requests of none": ("[sets.a]\nrequests = []", r"sets\.a\.requests: "),
    "an empty request": ('[sets.a]\nrequests = [" "]', r"sets\.a\.requests: "),
    "a string": ('[sets.a]\nrequests = "tool"', r"sets\.a\.requests: "),
    "numbers": ("[sets.a]\nrequests = [3.11]", r"sets\.a\.requests: "),
    "no profile": ('[sets.a]\nrequests = ["t"]\nprofiles = ["slow"]', r"sets\.a\.profiles: "),
    "no host": ('[sets.a]\nrequests = ["t"]\nhosts = ["a/b"]', r"sets\.a\.hosts: "),
    "no set's name": ('[sets."a b"]\nrequests = ["t"]', r"sets\.a b: "),
    "a set that is none": ("[sets]\na = 1", r"sets\.a: "),
}
FOLDERS = ["", "  ", "/{year}", "/{", "/}", "/{host!r}", "/{host:>9}", "/{}", "/a:b", "/a\\u0000"]


@pytest.mark.parametrize("case", WRONG)
def test_error_names_file_and_key(tmp_path, defaults, case):
    text, said = WRONG[case]
    with pytest.raises(CatalogueError, match=rf"matrix\.toml: {said}") as caught:
        load(tmp_path, text, defaults)
    assert caught.value.advice == ("see docs/how-to/plan.md",)


@pytest.mark.parametrize("folder", [*FOLDERS, "~nobody-of-that-name/x"])
def test_invalid_repository_folder_is_refused(tmp_path, defaults, folder):
    text = f'[sets.a]\nrequests = ["tool"]\nrepository = "{folder}"\n'
    with pytest.raises(CatalogueError, match=r"sets\.a\.repository: a folder"):
        load(tmp_path, text, defaults)


@pytest.mark.parametrize("text", ["[", "a = \xff", "a" * 100, "x = " + "[" * 5000])
def test_invalid_toml_is_refused(tmp_path, defaults, text):
    file = tmp_path / "matrix.toml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(CatalogueError, match=r"matrix\.toml cannot be read"):
        matrix.load(file, defaults, release=False)
    with pytest.raises(CatalogueError, match="cannot be read"):
        matrix.load(tmp_path, defaults, release=False)
