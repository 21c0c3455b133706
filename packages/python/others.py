"""What CPython's source and its standard library bring of others, for the bill of materials."""

import email
import json

from rezbuild.payload.sbom import Part

PRODUCTS = {"pip": "pypa:pip", "setuptools": "python:setuptools"}
SAID = {
    "hacl-star": ("MIT", "hacl-star:hacl-star"),
    "libb2": ("CC0-1.0", "blake2:libb2"),
}


def parts(source, lib):
    """The C libraries that are compiled in, and the Python packages that are installed beside.

    Their licence texts are in CPython's own (Doc/license.rst), or in the packages' folders.
    """
    yield from compiled_in(source)
    for path in sorted(lib.glob("site-packages/*.dist-info/METADATA")):
        said = email.message_from_string(path.read_text(encoding="utf-8"))
        licence = said["License-Expression"] or "MIT"
        yield Part(said["Name"], said["Version"], licence, PRODUCTS.get(said["Name"], ""), "pypi")


def compiled_in(source):
    """The libraries of others that no Rez package brings."""
    # From 3.12 on CPython says itself what it brings; to 3.11 these two are not told by version.
    bill = source / "Misc/sbom.spdx.json"
    if bill.is_file():
        listed = json.loads(bill.read_text(encoding="utf-8"))["packages"]
        versions = {one["name"]: one.get("versionInfo", "") for one in listed}
        for name, (licence, cpe) in SAID.items():
            if name in versions:
                yield Part(name, versions[name], licence, cpe)
