"""Lock files: their text, what they hold a clone to, and what is wrong with invalid ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rezbuild.catalogue import platform_years
from rezbuild.catalogue.platform_years import Platform
from rezbuild.errors import LockError, MachineError, UsageError
from rezbuild.plan import resolve
from rezbuild.plan.resolve import Recipes, Step
from rezbuild.settings import Settings
from rezbuild.util.glibc_version import host_glibc
from rezbuild.versions import lock_file
from rezbuild.versions.lock_file import Lock

HEAD = """\
default = "{default}"
license = "MIT"
file = "{name}-{{version}}.tar.gz"
urls = ["https://example.invalid/{{file}}"]
"""


def add(folder: Path, name: str, *versions: str, requires: str = "") -> None:
    """Add a recipe; the last version is the default."""
    (folder / name).mkdir(exist_ok=True)
    text = HEAD.format(default=versions[-1], name=name)
    for version in versions:
        sha256 = version.replace(".", "").zfill(64)
        text += f'[versions."{version}"]\nsha256 = "{sha256}"\nrequires = [{requires}]\n'
    (folder / name / "sources.toml").write_text(text, encoding="utf-8")
    for file in ("recipe.py", "package.py"):
        (folder / name / file).write_text(f"# {name}\n", encoding="utf-8")


class Clone:
    """A folder of recipes, and its lock file for some requests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "packages"
        self.folder.mkdir()
        add(self.folder, "low", "1.0.0", "1.0.2")
        add(self.folder, "top", "2.0.0", requires='"low-1"')
        (self.folder / "year").mkdir()
        self.set_year("~top-2")
        self.path = folder / "rezbuild.lock"

    def set_year(self, *requires: str) -> None:
        listed = ", ".join(f'"{request}"' for request in requires)
        (self.folder / "year/platform.toml").write_text(
            f'[versions."2026"]\nrequires = [{listed}]\nglibc = "2.28"\n', encoding="utf-8"
        )

    @property
    def recipes(self) -> Recipes:
        return resolve.recipes(self.folder)

    @property
    def years(self) -> dict[str, list[Platform]]:
        return platform_years.find(self.folder)

    def plan(self, recipes: Recipes, *requests: str) -> list[Step]:
        _, wanted = platform_years.expand(self.years, requests)
        return resolve.plan(recipes, wanted, lambda *_: True)

    def lock(self, *requests: str, glibc: str = "2.28") -> Lock:
        years, _ = platform_years.expand(self.years, requests)
        lock = Lock.of_plan(requests, glibc, years, self.plan(self.recipes, *requests))
        lock_file.write(self.path, lock)
        return lock

    def edit(self, old: str, new: str) -> None:
        """Replace a text in the lock file, as by hand."""
        text = self.path.read_text("utf-8")
        assert old in text
        self.path.write_text(text.replace(old, new, 1), encoding="utf-8")

    def load(self) -> lock_file.LockedRecipes:
        return lock_file.load(self.path, self.recipes, self.years)

    def differences(self) -> tuple[str, ...]:
        with pytest.raises(LockError) as caught:
            self.load()
        assert caught.value.message.endswith("does not fit the recipes here")
        return caught.value.tried


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def test_equal_plans_give_equal_files(clone):
    clone.lock("year", "low-1.0.0", "low-1.0.0")
    before = clone.path.read_bytes()
    assert b'requests = [\n    "year",\n    "low-1.0.0",\n]\n' in before
    clone.lock("year", "low-1.0.0")
    assert clone.path.read_bytes() == before


def test_file_is_read_as_it_was_written(clone):
    lock = clone.lock("year", "low-1.0.0", "low-1.0.2")
    assert [str(one) for one in lock.package] == ["low-1.0.0", "low-1.0.2", "top-2.0.0"]
    assert lock.package[-1].against == ("low-1.0.0",)
    assert clone.load().lock == lock


def test_newer_versions_and_years_do_not_change_a_locked_plan(clone):
    clone.lock("year")
    add(clone.folder, "low", "1.0.0", "1.0.2", "1.0.3")
    with (clone.folder / "year/platform.toml").open("a", encoding="utf-8") as file:
        file.write('[versions."2027"]\nrequires = ["~low-1"]\nglibc = "2.34"\n')
    locked = clone.load()
    years, requests = platform_years.expand(locked.years, locked.lock.requests)
    assert list(map(str, years)) == ["year-2026"]
    steps = resolve.plan(locked.recipes, requests, lambda *_: True)
    assert list(map(str, steps)) == ["low-1.0.2", "top-2.0.0"]
    assert not any(step.missing for step in steps)
    locked.check_plan(steps)


def test_changed_recipes_are_refused(clone):
    clone.lock("year")
    (clone.folder / "low/recipe.py").write_text("# another way\n", encoding="utf-8")
    assert clone.differences() == ("the recipe or rezbuild has changed since: low-1.0.2",)
    clone.set_year("~top-2", "~low-1.0.0")
    assert clone.differences()[0] == "year-2026 has changed since: ~top-2, ~low-1.0.0; glibc 2.28"


def test_changed_checksums_and_missing_versions_are_refused(clone):
    clone.lock("top")
    path = clone.folder / "top/sources.toml"
    path.write_text(path.read_text("utf-8").replace("0200", "f200"), encoding="utf-8")
    add(clone.folder, "low", "1.0.0")
    had, has = "200".zfill(64), "f200".zfill(64)
    assert clone.differences() == (
        f"top-2.0.0: sha256 of top-2.0.0.tar.gz: {had} in the file, {has} in the catalogue",
        "not in the catalogue: low-1.0.2",
    )


def test_refusal_names_the_command_and_another_rezbuild(clone):
    lock = replace(clone.lock("top"), rezbuild="0.0.7")
    lock_file.write(clone.path, lock)
    assert clone.load().lock == lock
    add(clone.folder, "low", "1.0.0")
    with pytest.raises(LockError) as caught:
        clone.load()
    assert caught.value.tried[-1].startswith("rezbuild 0.0.7 wrote the file; ")
    assert f"rezbuild lock top --glibc 2.28 -o {clone.path}" in caught.value.advice[-1]


def test_plan_of_other_packages_is_refused(clone):
    clone.lock("top", "low-1.0.0")
    locked = clone.load()
    with pytest.raises(LockError) as caught:
        locked.check_plan(clone.plan(clone.recipes, "top"))
    assert caught.value.tried == (
        "low-1.0.2 is not in the file",
        "low-1.0.0 is not needed any more",
        "top-2.0.0 is built against other versions: low-1.0.0, low-1.0.2",
    )


def test_file_with_two_entries_of_a_package_is_refused(clone):
    """The first entry differs from the recipes: the second one must not hide that."""
    clone.lock("top")
    head, *packages = clone.path.read_text("utf-8").split("[[package]]\n")
    assert "low-1.0.2" in packages[-1]
    packages.insert(0, packages[-1].replace("low-1.0.2", "low-1.0.0"))
    clone.path.write_text("[[package]]\n".join([head, *packages]), encoding="utf-8")
    with pytest.raises(LockError, match=r"several entries of top-2\.0\.0"):
        clone.load()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("format = 1", "format = 2", "format must be 1"),
        ("format = 1", "", "format must be 1"),
        ("format = 1", "format = ]", "Invalid value"),
        ('glibc = "2.28"', "", "glibc is missing"),
        ('glibc = "2.28"', 'glibc = "two"', "glibc is not a version such as 2.28: 'two'"),
        ('glibc = "2.28"', 'glibc = ""', "glibc is not a version such as 2.28: ''"),
        ('glibc = "2.28"', 'glibc = "2.\u0662"', "glibc is not a version"),
        ('glibc = "2.28"', "glibc = 2", "glibc is not a text"),
        ("rezbuild = ", "rezbild = ", "rezbild is unknown"),
        ('requests = ["top"]', 'requests = "top"', "requests is not a list"),
        ('requests = ["top"]', "requests = [1]", "requests[0] is not a text"),
        ('requests = ["top"]', "requests = []", "requests is empty"),
        ('against = ["low-1.0.2"]', "against = [{}]", "package[1].against[0] is not a text"),
        ("[package.sha256]", "sha256 = 5\n[other]", "other is unknown"),
        ("[package.sha256]", "[package.sha256]\nx = 1", "package[0].sha256.x is not a text"),
        ("[[package]]\n", "[package]\n", "Cannot"),
        ('name = "low"', 'nam = "low"', "package[0].nam is unknown"),
        ('version = "1.0.2"\n', "", "package[0].version is missing"),
        ("glibc = ", 'more = "x"\nglibc = ', "more is unknown"),
    ],
)
def test_invalid_files_are_refused_with_file_and_key(clone, old, new, said):
    clone.lock("top")
    clone.edit(old, new)
    with pytest.raises(LockError, match="cannot be read") as caught:
        clone.load()
    assert str(clone.path) in caught.value.message
    assert said in caught.value.message
    assert caught.value.advice


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ("other-1", "no recipe for other"),
        ("low-1.0.0", "no version of low matches 'low-1.0.0'"),
        ("year", "no recipe for year"),
        ("year-2031", "no recipe for year"),
        ("top<>", "'top<>' is not a Rez request"),
        ("~top", "'~top' excludes a package"),
        ("", "empty request"),
    ],
)
def test_added_request_that_the_packages_do_not_satisfy_is_refused(clone, request_, said):
    clone.lock("top")
    clone.edit('requests = ["top"]', f'requests = ["top", "{request_}"]')
    with pytest.raises(LockError, match="do not fit its packages") as caught:
        clone.load()
    assert str(clone.path) in caught.value.message
    assert caught.value.tried[0].startswith(f"requests: {said}")
    assert caught.value.exit_code == 16
    assert caught.value.advice


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "low"', 'name = ""'),
        ('name = "low"', 'name = "year"'),
        ('version = "1.0.2"', 'version = ""'),
        ('version = "1.0.2"', 'version = "1.0.0"'),
        ('recipe = "', 'recipe = "0'),
        ("102".zfill(64), "f02".zfill(64)),
        ('"low-1.0.2.tar.gz"', '"low.tar.gz"'),
        ('against = ["low-1.0.2"]', "against = []"),
        ('against = ["low-1.0.2"]', 'against = ["low-1.0.0"]'),
        ('version = "2026"', 'version = "2031"'),
        ('requires = ["~top-2"]', 'requires = ["top-2"]'),
        ('requests = ["year"]', 'requests = ["low"]'),
    ],
)
def test_damaged_values_are_refused_as_faults_of_the_file(clone, old, new):
    clone.lock("year")
    clone.edit(old, new)
    with pytest.raises(LockError) as caught:
        locked = clone.load()
        _, requests = platform_years.expand(locked.years, locked.lock.requests)
        locked.check_plan(resolve.plan(locked.recipes, requests, lambda *_: True))
    assert str(clone.path) in caught.value.message
    assert caught.value.tried
    assert caught.value.advice


def test_host_without_glibc_must_name_one(clone):
    with pytest.raises(UsageError, match="requires a glibc") as caught:
        clone.lock("top", glibc="")
    assert "--glibc" in caught.value.advice[0]
    assert not clone.path.exists()


def test_missing_file_is_refused(clone):
    with pytest.raises(LockError, match="does not exist") as caught:
        clone.load()
    assert caught.value.advice == (f"write it: rezbuild lock REQUEST -o {clone.path}",)


def test_build_takes_the_glibc_of_the_file(clone, tmp_path):
    settings = Settings(cache=tmp_path)
    clone.lock("top")
    locked = clone.load()
    assert locked.with_glibc(settings).glibc == "2.28"
    assert locked.with_glibc(replace(settings, glibc="2.28")).glibc == "2.28"
    with pytest.raises(UsageError, match=r"glibc 2\.31 does not fit the lock file .* glibc 2\.28"):
        locked.with_glibc(replace(settings, glibc="2.31"))


@pytest.mark.skipif(not host_glibc(), reason="another C library")
def test_host_with_an_older_glibc_is_refused(clone, tmp_path):
    clone.lock("top", glibc="2.99")
    settings = Settings(cache=tmp_path)
    with pytest.raises(MachineError, match=r"is for glibc 2\.99, but this host has") as caught:
        clone.load().with_glibc(settings)
    assert f"--glibc {host_glibc()} -o" in caught.value.advice[-1]
    # On a farm, the hosts of the workers count.
    farm = replace(settings, scheduler="tcp://farm:8786")
    assert clone.load().with_glibc(farm).glibc == "2.99"
