"""The requirement ``.glibc-<version>+`` of installed payloads, resolved by Rez."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from rez.system import system
from studio import ROOT, Studio

SOURCES = """\
default = "1.2.3"
license = "MIT"
file = "thing-{version}.tar.gz"
urls = ["https://example.invalid/{file}"]
[versions."1.2.3"]
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
requires = ["arch"]
"""
DEFINITION = """\
from rezbuild.rez_plugin.package_definition import define

name = "thing"
define(globals())
"""
RUN_TIME = DEFINITION.replace("globals()", "globals(), requires_at_run_time=True")
OWN_LIST = DEFINITION.replace("define(g", "requires = ['!other']\ndefine(g")
INSTALL = """\
import sys
from rez.developer_package import DeveloperPackage
for variant in DeveloperPackage.from_path(sys.argv[1]).iter_variants():
    variant.install(sys.argv[2])
"""


class Site(Studio):
    """A studio whose payloads are only records, with hosts of any glibc."""

    def install(self, definition: str, **glibc: str | None) -> Path:
        """Install a definition by Rez, with a record of the needed glibc for each arch."""
        recipe = self.folder / "thing"
        recipe.mkdir(exist_ok=True)
        (recipe / "sources.toml").write_text(SOURCES)
        (recipe / "recipe.py").touch()
        (recipe / "package.py").write_text(definition)
        cache = {"REZBUILD_CACHE": str(self.folder / "cache")}
        self.run(sys.executable, "-c", INSTALL, recipe, self.local, **cache)
        for arch, version in glibc.items():
            root = self.local / f"thing/1.2.3/platform-{system.platform}/arch-{arch}"
            root.mkdir(parents=True)
            (root / "rezbuild.json").write_text(json.dumps({"glibc": version}))
        return self.local / "thing/1.2.3/package.py"

    def resolve(self, request: str, glibc: str | None) -> str:
        """Resolve on a host with a glibc, or with None on a site without our setting.

        Returns:
            The environment, or Rez's error.
        """
        config = self.folder / f"glibc-{glibc}.py"
        setting = f"implicit_packages = ModifyList(append=['.glibc=={glibc}'])\n"
        config.write_text(setting if glibc else "")
        done = self.rez("env", *request.split(), "--", "env", ok=False, REZ_CONFIG_FILE=str(config))
        return done.stdout + done.stderr


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path / "site")
    for name in ("platform", "arch"):
        made.rez("bind", name)
    return made


@pytest.mark.parametrize("definition", [DEFINITION, RUN_TIME, OWN_LIST])
def test_rez_refuses_an_older_glibc(site, definition):
    site.install(definition, **{system.arch: "2.28"})
    assert "(.glibc-2.28+ <--!--> .glibc==2.17)" in site.resolve("thing", "2.17")
    for glibc in ("2.28", "2.36", None):
        assert "REZ_THING_ROOT=" in site.resolve("thing", glibc)


def test_own_requests_of_a_package_stay(site):
    site.install(RUN_TIME, **{system.arch: "2.28"})
    assert "conflict" in site.resolve("thing !arch", "2.36")


@pytest.mark.parametrize("glibc", [{}, {system.arch: None}, {system.arch: "new"}])
def test_payload_without_a_known_glibc_resolves_on_each_host(site, glibc):
    site.install(DEFINITION, **glibc)
    assert "REZ_THING_ROOT=" in site.resolve("thing", "2.17")


def test_requirement_is_the_one_of_this_arch(site):
    file = site.install(DEFINITION, other="2.99", **{system.arch: "2.28"})
    other = f"['platform-{system.platform}', 'arch-other']"
    file.write_text(file.read_text().replace("variants = [", f"variants = [{other}, "))
    assert "REZ_THING_ROOT=" in site.resolve("thing", "2.36")
    assert "(.glibc-2.28+ <--!--> .glibc==2.17)" in site.resolve("thing", "2.17")


def test_copied_package_keeps_the_requirement(site):
    site.install(DEFINITION, **{system.arch: "2.28"})
    site.rez("cp", "thing-1.2.3", "--dest-path", site.released, "--allow-empty")
    site.rez("rm", "-p", "thing-1.2.3", site.local)
    assert "(.glibc-2.28+ <--!--> .glibc==2.17)" in site.resolve("thing", "2.17")
    assert f"REZ_THING_ROOT={site.released}/" in site.resolve("thing", "2.28")


@pytest.mark.parametrize("floors", [["2.28", "2.34"], ["2.34", "2.28"]])
def test_rez_takes_the_variant_for_the_newest_glibc_of_the_host(site, floors):
    """A studio's own package with two payloads of one version, as the documentation shows."""
    folder = site.local / "two/1"
    variants = [[f"platform-{system.platform}", f".glibc-{floor}+"] for floor in floors]
    for variant in variants:
        folder.joinpath(*variant).mkdir(parents=True)
    (folder / "package.py").write_text(f"name = 'two'\nversion = '1'\nvariants = {variants}\n")
    for glibc, chosen in (("2.36", "2.34"), ("2.31", "2.28"), (None, "2.34")):
        assert f"/.glibc-{chosen}+\n" in site.resolve("two", glibc)
    assert "conflict" in site.resolve("two", "2.17")


def test_rezconfig_adds_the_glibc_of_this_host(site):
    env = {"REZ_CONFIG_FILE": str(ROOT / "rezconfig.py")}
    said = site.rez("config", "implicit_packages", **env).stdout.splitlines()
    without = site.rez("config", "implicit_packages", REZ_CONFIG_FILE="").stdout.splitlines()
    version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()[1]
    assert said == [*without, f"- .glibc=={version}"]
