"""The software bill of materials of a payload, for scanners and lawyers.

The format is CycloneDX (ECMA-424) in JSON. Equal inputs give equal bytes: the bill has no time of
the build and no random number. It includes the bills of all dependencies, so the last payload of a
chain lists all parts.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from rezbuild.catalogue.model import Archive, Release
from rezbuild.errors import BuildError
from rezbuild.files import safe_files
from rezbuild.files.hashing import sha256
from rezbuild.util import words

if TYPE_CHECKING:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, Pedigree

# Scanners search *.cdx.json.
FILE = "rezbuild-sbom.cdx.json"
# Properties of a component: the file and the sum of its source, and those of each patch.
ARCHIVE = "rezbuild:archive"
PATCH = "rezbuild:patch:"
# Kind, name and version; versions that are hashes of commits cannot be compared.
_PURL = re.compile(r"pkg:([a-z]+)/([^/@?#]+)@([0-9][0-9A-Za-z]*(?:[.+_-][0-9A-Za-z]+)*)")
# CPE 2.3, NIST IR 7695: part, vendor and product, version, update; the rest is any.
_CPE = "cpe:2.3:a:{product}:{version}:{update}:*:*:*:*:*:*"
# Updates are prereleases; the National Vulnerability Database (NVD) has e.g. 3.15.0:rc1.
_PRERELEASE = re.compile(r"(\d+(?:\.\d+)+)(a|b|rc)(\d+)")
_UPDATES = {"a": "alpha", "b": "beta", "rc": "rc"}


@dataclass(frozen=True)
class Part:
    """A part of another project in a source, e.g. HACL* in CPython.

    Attributes:
        license: An SPDX expression.
        cpe: Vendor and product, e.g. ``libexpat_project:libexpat``, or "".
        kind: The type of the package URL: ``generic``, or ``pypi`` for Python packages.
    """

    name: str
    version: str
    license: str
    cpe: str = ""
    kind: str = "generic"


@dataclass(frozen=True)
class Subject:
    """The payload that a bill describes.

    Attributes:
        fingerprint: The hash of all inputs; the serial number depends on it.
        epoch: The time of the source in seconds since 1970; see
            `rezbuild.build.toolchain.environment`.
        patches: The patches, in order.
        parts: Parts of other projects in the source.
        inside: Payloads that are linked or copied into this one, by name.
        bundled: Packages whose libraries are files below ``deps/``, e.g. ``zlib-1.3.1``.
        glibc: The glibc that it was built for, if not the host's; see `Toolchain`.
    """

    release: Release
    archive: Archive
    fingerprint: str
    epoch: int
    patches: Sequence[Path] = ()
    parts: Iterable[Part] = ()
    inside: Mapping[str, Path] | None = None
    bundled: Iterable[str] = ()
    glibc: str = ""


def write(payload: Path, subject: Subject) -> None:
    """Write the bill into a payload.

    Raises:
        BuildError: A dependency has no valid bill.
    """
    from cyclonedx.output.json import JsonV1Dot6

    text = JsonV1Dot6(_bom(subject)).output_as_string(indent=1)
    (payload / FILE).write_text(text + "\n", encoding="utf-8")


def read(payload: Path) -> dict[str, Any] | None:
    """Return the bill of a payload as data, or None if it is missing or invalid."""
    try:
        data = safe_files.parse_json(safe_files.read(payload / FILE))
    except (OSError, ValueError):
        return None
    try:
        components(data)
    except (AttributeError, TypeError, KeyError):
        return None
    return data  # type: ignore[no-any-return]


def components(data: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return name, version and license of the payload and of all its parts."""
    return [
        (str(one.get("name")), str(one.get("version", "")), _license(one)) for one in listed(data)
    ]


def listed(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the components of a bill as they are in it; the payload itself is the first."""
    return [data.get("metadata", {}).get("component", {}), *data.get("components", [])]


def properties(component: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield names and values of a component's properties, e.g. `ARCHIVE`."""
    found = component.get("properties")
    for one in found if isinstance(found, list) else ():
        if isinstance(one, dict):
            yield str(one.get("name")), str(one.get("value"))


def parts(payload: Path) -> list[tuple[str, str, str]]:
    """Return kind, name and version of the direct parts of a payload, or [] without a valid bill.

    These are the packages that it was built against, and the parts of its own source. The kind is
    the type of the package URL, e.g. ``pypi``; see `Part`.
    """
    try:
        data = read(payload) or {}
        own = data["metadata"]["component"]["bom-ref"]
        rows = [row for row in data["dependencies"] if row["ref"] == own]
        found = [_PURL.fullmatch(ref) for row in rows for ref in row.get("dependsOn", [])]
    except (AttributeError, KeyError, TypeError):
        return []
    return [(hit[1], unquote(hit[2]), hit[3]) for hit in found if hit]


def _license(component: Mapping[str, Any]) -> str:
    licenses = [
        one.get("expression") or one.get("license", {}).get("id") or one["license"].get("name")
        for one in component.get("licenses", [])
    ]
    return " AND ".join(map(str, licenses))


def _bom(subject: Subject) -> Bom:
    from datetime import datetime, timezone  # noqa: PLC0415

    from cyclonedx.model.bom import Bom, BomMetaData

    own = _own(subject)
    name = f"rezbuild:{subject.release.name}-{subject.release.version}:{subject.fingerprint}"
    bom = Bom(
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, name),
        metadata=BomMetaData(
            component=own, timestamp=datetime.fromtimestamp(subject.epoch, timezone.utc)
        ),
    )
    direct = [
        _component(part.name, part.version, part.license, part.cpe, part.kind)
        for part in subject.parts
    ]
    edges: dict[str, set[str]] = {part.bom_ref.value or "": set() for part in direct}
    known = {part.bom_ref.value: part for part in direct}
    for package, root in sorted((subject.inside or {}).items()):
        dependency, bill = _dependency(package, root)
        direct.append(dependency)
        for component in (dependency, *bill.components):
            known.setdefault(component.bom_ref.value, component)
        for edge in bill.dependencies:
            needs = {one.ref.value or "" for one in edge.dependencies}
            edges.setdefault(edge.ref.value or "", set()).update(needs)
    bom.components.update(known.values())
    for component in known.values():
        needed = [known[ref] for ref in sorted(edges.get(component.bom_ref.value or "", ()))]
        bom.register_dependency(component, needed)
    bom.register_dependency(own, [known[one.bom_ref.value] for one in direct])
    return bom


def _dependency(package: str, root: Path) -> tuple[Component, Bom]:
    """Return a dependency as a component, and its bill."""
    from cyclonedx.model.bom import Bom

    try:
        found = Bom.from_json(read(root))  # type: ignore[attr-defined]  # py-serializable adds it
    except Exception as error:  # noqa: BLE001 (the library raises many classes for damaged files)
        raise _unreadable(package, root, words.reason(error)) from None
    if found is None or found.metadata.component is None:
        raise _unreadable(package, root, "it is missing or empty")
    return found.metadata.component, found


def _unreadable(package: str, root: Path, reason: str) -> BuildError:
    return BuildError(
        f"the bill of materials of {package} cannot be read: {root / FILE}: {reason}",
        advice=[f"build it again: rezbuild build --force {package}"],
    )


def _own(subject: Subject) -> Component:
    from cyclonedx.model import (
        ExternalReference,
        ExternalReferenceType,
        HashAlgorithm,
        HashType,
        Property,
        XsUri,
    )

    release, archive = subject.release, subject.archive
    found = _component(release.name, release.version, release.license, release.cpe)
    # The archive that was built. The route to it on this machine does not matter.
    sums = [HashType(alg=HashAlgorithm.SHA_256, content=archive.sha256)]
    for url in archive.urls or release.archives[0].urls:
        reference = ExternalReference(
            type=ExternalReferenceType.SOURCE_DISTRIBUTION,
            url=XsUri(url),
            hashes=sums if archive.urls else None,
        )
        found.external_references.add(reference)
    properties = {ARCHIVE: f"{archive.file} sha256:{archive.sha256}"}
    for path in subject.patches:
        properties[f"{PATCH}{path.name}"] = f"sha256:{sha256(path)}"
    if subject.glibc:
        properties["rezbuild:glibc-floor"] = subject.glibc
    if subject.bundled:
        properties["rezbuild:bundled"] = " ".join(sorted(subject.bundled))
    for name, value in properties.items():
        found.properties.add(Property(name=name, value=value))
    if subject.patches:
        found.pedigree = _pedigree(subject)
    return found


def _pedigree(subject: Subject) -> Pedigree:
    from cyclonedx.model import XsUri
    from cyclonedx.model.component import (
        Diff,
        Patch,
        PatchClassification,
        Pedigree,
    )

    return Pedigree(
        patches=[
            Patch(
                type=PatchClassification.UNOFFICIAL,
                diff=Diff(url=XsUri(f"packages/{subject.release.home}/patches/{path.name}")),
            )
            for path in subject.patches
        ]
    )


def _component(
    name: str, version: str, license_: str, cpe: str, kind: str = "generic"
) -> Component:
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import LicenseExpression
    from packageurl import PackageURL

    purl = PackageURL(kind, None, name, version)
    return Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=version,
        bom_ref=purl.to_string(),
        purl=purl,
        cpe=_cpe(cpe, version) if cpe else None,
        licenses=[LicenseExpression(license_)] if license_ else None,
    )


def _cpe(product: str, version: str) -> str:
    update = "*"
    if found := _PRERELEASE.fullmatch(version):
        version, update = found[1], _UPDATES[found[2]] + found[3]
    return _CPE.format(product=product, version=version, update=update)
