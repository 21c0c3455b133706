"""Payloads of one version for two versions of glibc, as variants that Rez chooses from."""

from __future__ import annotations

import shutil

import pytest
from rez.system import system

pytestmark = pytest.mark.e2e

HOST = (f"platform-{system.platform}", f"arch-{system.arch}")


@pytest.mark.parametrize("name", ["low", "top"])
def test_rez_chooses_between_payloads_for_two_glibcs(studio, samples, name):
    """low needs no glibc. top needs the glibc of this host, whatever its variants say."""
    studio.rezbuild("build", name, **samples.environ)
    shutil.rmtree(studio.local / name)
    definition = samples.recipes / name / "package.py"
    common = definition.read_text().partition("define(globals")[0]
    for glibc in ("2.28", "2.34"):
        variants = [[*HOST, f".glibc-{glibc}+"]]
        definition.write_text(f"{common}variants = {variants}\ndefine(globals())\n")
        studio.rez("build", "-i", cwd=definition.parent, **samples.environ)
    found = studio.local.glob(f"{name}/*/*/*/*/rezbuild.json")
    assert {path.parent.name for path in found} == {".glibc-2.28+", ".glibc-2.34+"}
    for host, chosen in (("2.36", "2.34"), ("2.31", "2.28")):
        settings = studio.folder / f"glibc-{host}.py"
        settings.write_text(f"implicit_packages = ModifyList(append=['.glibc=={host}'])\n")
        run = ("--", "printenv", f"REZ_{name.upper()}_ROOT")
        done = studio.rez("env", name, *run, ok=False, REZ_CONFIG_FILE=str(settings))
        if name == "top" and host == "2.31":
            assert "<--!--> .glibc==2.31" in done.stdout + done.stderr
        else:
            assert done.stdout.endswith(f"/.glibc-{chosen}+\n")
