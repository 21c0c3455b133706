"""Parts of other projects in a Python payload, for the bill of materials."""

import email
import json
from collections.abc import Iterator
from pathlib import Path

from rezbuild.payload.sbom import Part

PRODUCTS = {"pip": "pypa:pip", "setuptools": "python:setuptools"}
KNOWN = {
    "hacl-star": ("MIT", "hacl-star:hacl-star"),
    "libb2": ("CC0-1.0", "blake2:libb2"),
}


def parts(source: Path, lib: Path) -> Iterator[Part]:
    """Yield the C libraries that are compiled in, and the installed Python packages.

    Their license texts are in CPython's own (Doc/license.rst), or in the packages' folders.
    """
    yield from compiled_in(source)
    for path in sorted(lib.glob("site-packages/*.dist-info/METADATA")):
        metadata = email.message_from_string(path.read_text(encoding="utf-8"))
        name, version = metadata["Name"], metadata["Version"]
        license_ = metadata["License-Expression"] or "MIT"
        yield Part(name, version, license_, PRODUCTS.get(name, ""), "pypi")


def compiled_in(source: Path) -> Iterator[Part]:
    """Yield the libraries in CPython's source for which there is no Rez package."""
    # CPython 3.12 and newer lists them; older ones do not state their versions.
    bill = source / "Misc/sbom.spdx.json"
    if bill.is_file():
        listed = json.loads(bill.read_text(encoding="utf-8"))["packages"]
        versions = {one["name"]: one.get("versionInfo", "") for one in listed}
        for name, (license_, cpe) in KNOWN.items():
            if name in versions:
                yield Part(name, versions[name], license_, cpe)
