"""Valid and invalid catalogues."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from license_expression import get_spdx_licensing

from rezbuild.catalogue import model, sources_toml
from rezbuild.catalogue.test_records import Record
from rezbuild.errors import CatalogueError
from rezbuild.payload import manifest
from rezbuild.plan import resolve

PACKAGES = Path(__file__).parents[3] / "packages"
FOLDERS = sorted(path.parent for path in PACKAGES.glob("*/sources.toml"))
SUM = "0123456789abcdef" * 4
GOOD = f"""
default = "1.2.3"
license = "Zlib"
file = "thing-{{version}}.tar.gz"
urls = ["https://example.invalid/{{series}}/{{file}}"]
requires = ["other-1"]
[versions."1.2.3"]
sha256 = "{SUM}"
size = 10
[versions."1.1.1w"]
sha256 = "{SUM}"
requires = []
debian = {{ source = "thing", file = "thing_1.1.1w.orig.tar.gz", sha256 = "{SUM[::-1]}" }}
"""


def load(folder: Path, text: str) -> model.Recipe:
    folder = folder / "thing"
    folder.mkdir()
    (folder / "sources.toml").write_text(text, encoding="utf-8")
    return sources_toml.load(folder)


def test_entries_inherit_and_override(tmp_path):
    recipe = load(tmp_path, GOOD)
    assert (recipe.name, recipe.default, recipe.profiled) == ("thing", "1.2.3", False)
    release = recipe.release("1.2.3")
    assert release.requires == ("other-1",)
    assert release.archives == (
        model.Archive(
            "thing-1.2.3.tar.gz", SUM, 10, ("https://example.invalid/1.2/thing-1.2.3.tar.gz",)
        ),
    )
    assert recipe.release("1.1.1w").requires == ()


def test_series_overrides_the_top_and_a_version_overrides_the_series(tmp_path):
    series = (
        '[series."1.2"]\nrequires = ["third-1"]\npatches = []\n[series."1.1"]\nlicense = "MIT"\n'
    )
    recipe = load(tmp_path, GOOD.replace('[versions."1.2.3"]', series + '[versions."1.2.3"]'))
    assert recipe.release("1.2.3").requires == ("third-1",)
    assert recipe.release("1.1.1w").requires == ()
    assert [release.license for release in recipe.releases.values()] == ["Zlib", "MIT"]


@pytest.mark.parametrize(
    ("series", "reason"),
    [
        ('[series."1.2.3"]\n', "series.1.2.3 is not a series such as 3.11"),
        (f'[series."1.2"]\nsha256 = "{SUM}"\n', "series.1.2.sha256 is unknown"),
        ('[series]\n"1.2" = 3\n', "series.1.2 is not a table"),
    ],
)
def test_wrong_series_is_refused(tmp_path, series, reason):
    with pytest.raises(CatalogueError, match=re.escape(reason)):
        load(tmp_path, GOOD.replace('[versions."1.2.3"]', series + '[versions."1.2.3"]'))


RECORD = 'tested = { on = "2026-12-01", host = "debian12", suites = ["e2e", "check"] }'
OLDER = '{ on = "2026-01-01", host = "el8", compiler = "gcc-14.2", profile = ["optimized"] }'
READ = Record("2026-12-01", "debian12", suites=("check", "e2e"))


def test_test_record_belongs_to_its_version(tmp_path):
    recipe = load(tmp_path, GOOD.replace("size = 10", f"size = 10\n{RECORD}"))
    assert [release.tested for release in recipe.releases.values()] == [(READ,), ()]


def test_test_records_are_read_oldest_first(tmp_path):
    several = RECORD.replace("{", "[{") + f", {OLDER}]"
    recipe = load(tmp_path, GOOD.replace("size = 10", f"size = 10\n{several}"))
    older = Record("2026-01-01", "el8", "gcc-14.2", ("optimized",))
    assert recipe.release("1.2.3").tested == (older, READ)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (RECORD, "tested = true", "tested is not a table"),
        (RECORD, "tested = [1]", "tested is not a table"),
        ('on = "2026-12-01", ', "", "tested.on is not a day"),
        ("2026-12-01", "2026-13-01", "tested.on is not a day"),
        ("2026-12-01", "yesterday", "tested.on is not a day"),
        ("debian12", "Debian 12", "tested.host is not a host's label"),
        ('host = "debian12", ', "", "tested.host is not a host's label"),
        ('"e2e"', '"all"', "tested.suites is not a list of names from check"),
        ('["e2e", "check"]', '"e2e"', "tested.suites is not a list"),
        ("suites", "suite", "tested.suite is unknown"),
        ("suites =", 'profile = ["slow"], suites =', "tested.profile is not a list"),
        ("suites =", 'compiler = "cc", suites =', "tested.compiler is not a compiler"),
    ],
)
def test_wrong_test_record_is_named(tmp_path, old, new, reason):
    text = GOOD.replace("size = 10", f"size = 10\n{RECORD}".replace(old, new))
    with pytest.raises(CatalogueError, match=re.escape(f"versions.1.2.3.{reason}")):
        load(tmp_path, text)


def test_test_record_is_no_input_of_a_build(tmp_path):
    """The fingerprint contains the revision, so a new record builds nothing again."""
    plain = load(tmp_path, GOOD)
    for name in ("package.py", "recipe.py"):
        (plain.folder / name).write_text("")
    revision = manifest.recipe_revision(plain, plain.release("1.2.3"))
    text = GOOD.replace("size = 10", f"size = 10\n{RECORD}")
    recorded = sources_toml.loads(text, plain.folder)
    assert recorded.release("1.2.3").tested
    assert manifest.recipe_revision(recorded, recorded.release("1.2.3")) == revision


def test_signers_are_read(tmp_path):
    """The most specific value wins; each key has a file."""
    keys = tmp_path / "thing/keys"
    keys.mkdir(parents=True)
    (keys / f"{'A' * 40}.asc").write_text("a key")
    text = GOOD.replace(*add_signature(f'suffix = ".asc", by = ["{"A" * 40}"]', "")[:2])
    text = text.replace(
        "size = 10", 'size = 10\nsigned = { suffix = ".s", identity = "me", issuer = "https://i" }'
    )
    (keys.parent / "sources.toml").write_text(text)
    recipe = sources_toml.load(keys.parent)
    assert recipe.release("1.2.3").signed == model.Signed(".s", (), "me", "https://i")
    assert recipe.release("1.1.1w").signed == model.Signed(".asc", (keys / f"{'A' * 40}.asc",))


def test_signers_are_no_input_of_a_build(tmp_path):
    """A new key does not outdate a build."""
    recipe = load(tmp_path, GOOD)
    for name in ("package.py", "recipe.py"):
        (recipe.folder / name).write_text("")
    before = manifest.recipe_revision(recipe, recipe.release("1.2.3"))
    (recipe.folder / "keys").mkdir()
    (recipe.folder / "keys" / f"{'A' * 40}.asc").write_text("a key")
    text = GOOD.replace(*add_signature(f'suffix = ".asc", by = ["{"A" * 40}"]', "")[:2])
    recipe = sources_toml.loads(text, recipe.folder)
    assert recipe.release("1.2.3").signed
    assert manifest.recipe_revision(recipe, recipe.release("1.2.3")) == before


def test_repacked_archive_is_an_alternative(tmp_path):
    upstream, anew = load(tmp_path, GOOD).release("1.1.1w").archives
    assert upstream.debian is None
    assert (anew.file, anew.sha256, anew.urls) == ("thing_1.1.1w.orig.tar.gz", SUM[::-1], ())


def test_same_bytes_in_debian_are_one_archive(tmp_path):
    text = GOOD.replace(f', sha256 = "{SUM[::-1]}"', "")
    (archive,) = load(tmp_path, text).release("1.1.1w").archives
    assert archive.sha256 == SUM
    assert archive.debian == model.DistributionFile("thing", "thing_1.1.1w.orig.tar.gz")


def add_signature(text: str, reason: str) -> tuple[str, str, str]:
    return 'license = "Zlib"', f'license = "Zlib"\nsigned = {{ {text} }}', reason


WRONG = {
    "no version": ("default", 'default = "9"', "default"),
    "not toml": ('license = "Zlib"', "license = ", "cannot be read"),
    "unknown key": ('license = "Zlib"', 'licence = "Zlib"', "licence is unknown"),
    "unknown entry key": ("size = 10", "bytes = 10", r"versions\.1\.2\.3\.bytes is unknown"),
    "size as text": ("size = 10", 'size = "10"', "size is not a number"),
    "size as truth": ("size = 10", "size = true", "size is not a number"),
    "size nought": ("size = 10", "size = 0", "size is not a number"),
    "upper-case sum": (f'sha256 = "{SUM}"', f'sha256 = "{SUM.upper()}"', "64 lower-case"),
    "short sum": (f'sha256 = "{SUM}"', 'sha256 = "abc"', "64 lower-case"),
    "no sum": (f'sha256 = "{SUM}"\nsize', "size", "sha256 is missing"),
    "http": ("https://", "http://", "not an https address"),
    "password": ("https://", "https://user:word@", "user name or password"),
    "space in url": ("example.invalid/", "example.invalid/a b/", "not an https address"),
    "open bracket in url": ("https://example", "https://[example", "urls holds"),
    "url is a text": ('urls = ["', 'urls = "', "cannot be read|not a list"),
    "urls of numbers": (
        r'urls = ["https://example.invalid/{series}/{file}"]',
        "urls = [1]",
        "list",
    ),
    "no urls": (r'urls = ["https://example.invalid/{series}/{file}"]', "urls = []", "urls is miss"),
    "unknown field": ("{series}", "{sires}", r"\{sires\}; known"),
    "open brace": ("{series}", "{series", "invalid pattern"),
    "path as file": ('file = "thing-', 'file = "../thing-', "not a plain file name"),
    "bad version": ('versions."1.2.3"', 'versions."latest"', "not a version"),
    "no versions": (GOOD[GOOD.index("[versions") :], "", "versions is missing"),
    "version no table": (GOOD[GOOD.index("[versions") :], '[versions]\n"1.2.3" = 1', "not a table"),
    "bad request": ('requires = ["other-1"]', 'requires = ["Other 1"]', "not a Rez request"),
    "patch not there": ('license = "Zlib"', 'license = "Zlib"\npatches = ["a.patch"]', "not in"),
    "patch path": ('license = "Zlib"', 'license = "Zlib"\npatches = ["../a"]', "not a plain file"),
    "debian key": ('source = "thing"', 'src = "thing"', r"debian\.src is unknown"),
    "debian file": ("thing_1.1.1w.orig", "../thing_1.1.1w.orig", r"debian\.file is not"),
    "tested for all": ('license = "Zlib"', 'license = "Zlib"\ntested = true', "tested is unknown"),
    "debug": ('license = "Zlib"', 'license = "Zlib"\ndebug = 1', "debug is not true or false"),
    "unknown field in a request": ('"other-1"', '"other-{x}"', r"requires holds \{x\}; known"),
    "signed is a text": ('license = "Zlib"', 'license = "Zlib"\nsigned = "x"', "signed is not a t"),
    "signed by nobody": add_signature('suffix = ".asc", by = []', r"signed\.by names no key"),
    "signed by whom": add_signature('suffix = ".asc"', r"signed\.identity is missing"),
    "half an identity": add_signature(
        'suffix = ".x", identity = "a"', r"signed\.issuer is missing"
    ),
    "signed by both": add_signature('suffix = ".asc", by = [], issuer = "a"', "use one of them"),
    "signed without suffix": add_signature("by = []", r"signed\.suffix is missing"),
    "signed elsewhere": add_signature('suffix = "/x.asc", by = []', r"suffix is not what follows"),
    "unknown in signed": add_signature('suffix = ".asc", key = "a"', r"signed\.key is unknown"),
    "lower-case key": add_signature(f'suffix = ".asc", by = ["{"a" * 40}"]', "not a fingerprint"),
    "short key id": add_signature(
        'suffix = ".asc", by = ["0123456789ABCDEF"]', "not a fingerprint"
    ),
    "key not there": add_signature(f'suffix = ".asc", by = ["{"A" * 40}"]', "does not exist"),
    "profiled": ('license = "Zlib"', 'license = "Zlib"\nprofiled = "yes"', "profiled is not"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_value_is_named_with_file_and_key(tmp_path, case):
    old, new, message = WRONG[case]
    assert old in GOOD
    text = GOOD.replace(old, new) if case != "no version" else GOOD.replace('"1.2.3"', '"9"', 1)
    with pytest.raises(CatalogueError, match=message) as caught:
        load(tmp_path, text)
    assert str(tmp_path / "thing" / "sources.toml") in str(caught.value)
    assert caught.value.exit_code == 3


BORROWED = f"""\
versions_of = "thing"
requires = ["thing-=={{version}}"]
[tested]
"1.2.3" = {RECORD.partition(" = ")[2]}
"""


def load_shared(folder: Path, text: str = BORROWED) -> model.Recipe:
    if not (folder / "thing").exists():
        load(folder, GOOD)
    (folder / "thing_more").mkdir()
    (folder / "thing_more/sources.toml").write_text(text)
    return sources_toml.load(folder / "thing_more")


def test_versions_of_another_package_are_read(tmp_path):
    more, thing = load_shared(tmp_path), sources_toml.load(tmp_path / "thing")
    assert (more.name, more.default, more.profiled) == ("thing_more", "1.2.3", False)
    assert list(more.releases) == list(thing.releases)
    found, theirs = more.release("1.2.3"), thing.release("1.2.3")
    assert (found.archives, found.license) == (theirs.archives, theirs.license)
    assert (found.home, theirs.home, found.requires) == ("thing", "thing", ("thing-==1.2.3",))
    assert [release.tested for release in more.releases.values()] == [(READ,), ()]


def test_patches_of_another_package_are_found(tmp_path):
    (tmp_path / "thing/patches").mkdir(parents=True)
    patch = tmp_path / "thing/patches/a.patch"
    patch.write_text("")
    text = GOOD.replace("requires", 'patches = ["a.patch"]\nrequires', 1)
    (tmp_path / "thing/sources.toml").write_text(text)
    for recipe in (load_shared(tmp_path), sources_toml.load(tmp_path / "thing")):
        assert recipe.patches(recipe.release("1.2.3")) == [patch]


def test_package_of_another_recipe_has_its_steps_and_requires(tmp_path):
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing/sources.toml").write_text(f"profiled = true\n{GOOD}")
    text = 'versions_of = "thing"\nsince = "1.2"\ndefault = "1.2.3"\nsame_recipe = true\n'
    more, thing = load_shared(tmp_path, text), sources_toml.load(tmp_path / "thing")
    assert (more.folder, more.steps) == (tmp_path / "thing_more", tmp_path / "thing")
    assert (thing.steps, thing.profiled, more.profiled) == (thing.folder, True, True)
    assert list(thing.releases) == ["1.2.3", "1.1.1w"]
    assert list(more.releases) == ["1.2.3"]
    assert more.release("1.2.3").requires == thing.release("1.2.3").requires


def test_revision_of_a_package_changes_with_the_recipe_that_builds_it(tmp_path):
    load(tmp_path, GOOD)
    text = 'versions_of = "thing"\nsame_recipe = true\n'
    more = load_shared(tmp_path, text)
    for path in ("thing_more/package.py", "thing/recipe.py", "thing/helper.py"):
        (tmp_path / path).write_text("")
    release = more.release("1.2.3")
    revisions = [manifest.recipe_revision(more, release)]
    for path in ("thing_more/package.py", "thing/recipe.py", "thing/helper.py"):
        (tmp_path / path).write_text("changed = True\n")
        revisions.append(manifest.recipe_revision(more, release))
    assert len(set(revisions)) == 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"thing"', '"other"', "versions_of is 'other', but"),
        ('"thing"', '"../thing"', "versions_of is not a package's name"),
        ('"thing"', '"thing_more"', "which has the key versions_of, too"),
        ('"1.2.3"', '"7"', "tested.7 is not a version of thing"),
        ("e2e", "all", "tested.1.2.3.suites is not a list"),
        ("[tested]", "[size]", "size is unknown"),
        (
            "requires = ",
            "same_recipe = true\nrequires = ",
            "requires is required without same_recipe",
        ),
        ("requires = ", "profiled = ", "profiled is unknown"),
        ("[tested]", 'since = "1.3"\n[tested]', "tested.1.2.3 is not a version of thing"),
        ("[tested]", 'default = "2.0"\n[tested]', "default is '2.0', which is not among"),
        ("[tested]", 'since = "new"\n[tested]', "since is not a series such as 3.13"),
        ("{version}", "{name}", "known: version, series"),
    ],
)
def test_wrong_versions_of_another_package_are_refused(tmp_path, old, new, message):
    with pytest.raises(CatalogueError, match=message):
        load_shared(tmp_path, BORROWED.replace(old, new))


def test_duplicate_version_is_refused(tmp_path):
    with pytest.raises(CatalogueError, match="cannot be read"):
        load(tmp_path, GOOD + f'[versions."1.2.3"]\nsha256 = "{SUM}"\n')


def test_missing_catalogue_is_named(tmp_path):
    with pytest.raises(CatalogueError, match="not a recipe folder"):
        sources_toml.load(tmp_path)


def test_unknown_version_lists_known_ones(tmp_path):
    with pytest.raises(CatalogueError, match=re.escape("choose a version: 1.2.3, 1.1.1w")):
        load(tmp_path, GOOD).release("7")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_own_catalogues_are_valid(folder):
    recipe = sources_toml.load(folder)
    assert recipe.name == folder.name
    assert (folder / "package.py").is_file()
    assert (recipe.steps / "recipe.py").is_file()
    sums = [archive.sha256 for release in recipe.releases.values() for archive in release.archives]
    assert len(sums) == len(set(sums))


@pytest.mark.parametrize(
    ("name", "versions"),
    [
        ("zlib", ["1.2.13", "1.3.1", "1.3.2"]),
        ("readline", ["8.2", "8.3"]),
        ("openssl", ["1.1.1w", "3.0.0", "3.0.20", "3.0.22", "3.5.6", "3.5.9"]),
        ("python", ["3.9.2", "3.9.19", "3.9.25", "3.10.15", "3.10.22", "3.11.2", "3.11.17"]),
        ("python", ["3.12.6", "3.12.15", "3.13.5", "3.13.18", "3.14.10"]),
    ],
)
def test_own_catalogue_has_the_required_versions(name, versions):
    assert set(versions) <= set(sources_toml.load(PACKAGES / name).releases)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_default_is_the_newest_of_its_series(folder):
    """The newest release is the default."""
    recipe = sources_toml.load(folder)
    plain = replace(recipe, rolling=False)
    assert resolve.same_series(plain, recipe.default)[0].version == recipe.default


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_each_package_builds_where_only_upstream_or_only_debian_answers(folder):
    """Debian's archive has the default, or another version of its series."""
    recipe = sources_toml.load(folder)
    assert recipe.release(recipe.default).archives[0].urls
    same = resolve.same_series(recipe, recipe.default)
    assert any(archive.debian for release in same for archive in release.archives)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_licenses_are_spdx_expressions(folder):
    known = get_spdx_licensing()
    for release in sources_toml.load(folder).releases.values():
        said = known.validate(release.license)
        odd = [one for one in said.invalid_symbols if not one.startswith("LicenseRef-")]
        assert not odd, release.version


def test_license_files_and_cpe_are_read(tmp_path):
    said = 'license_files = ["doc/COPYING*"]\ncpe = "thing_project:thing"\nurls'
    release = load(tmp_path, GOOD.replace("urls", said, 1)).release("1.2.3")
    assert release.license_files == ("doc/COPYING*",)
    assert release.cpe == "thing_project:thing"


@pytest.mark.parametrize(
    "said",
    [
        'license_files = ["../COPYING"]',
        'license_files = ["/etc/passwd"]',
        'license_files = "COPYING"',
        'cpe = "thing"',
        'cpe = "cpe:2.3:a:thing:thing:1.0:*"',
        "cpe = 3",
    ],
)
def test_invalid_license_files_and_cpe_are_refused(tmp_path, said):
    with pytest.raises(CatalogueError, match=f"{said.split()[0]} (holds|is)"):
        load(tmp_path, GOOD.replace("urls", f"{said}\nurls", 1))
