"""The software bill of materials in a payload: what is in it, for scanners and for lawyers.

CycloneDX (ECMA-424) in JSON, written by its own library. It has no time and no random number in
it: the same inputs give the same bytes. A payload's parts are read from the bills of the payloads
that it was built against, so the last one of a chain has them all.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rezbuild.catalogue.sources_toml import Archive, Release
from rezbuild.errors import BuildError
from rezbuild.files import safe_files
from rezbuild.files.hashing import sha256

if TYPE_CHECKING:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, Pedigree

# Scanners look for *.cdx.json.
FILE = "rezbuild-sbom.cdx.json"
# CPE 2.3, NIST IR 7695: part, vendor and product, version; nothing is said of the rest.
_CPE = "cpe:2.3:a:{product}:{version}:*:*:*:*:*:*:*"


@dataclass(frozen=True)
class Part:
    """Something that a source brings of others, as CPython brings expat.

    Attributes:
        license: SPDX expression.
        cpe: Vendor and product, as ``libexpat_project:libexpat``, or "".
        kind: Of its package URL: ``generic``, or ``pypi`` for Python packages.
    """

    name: str
    version: str
    license: str
    cpe: str = ""
    kind: str = "generic"


@dataclass(frozen=True)
class Subject:
    """What a bill is written for.

    Attributes:
        fingerprint: Of all inputs; the serial number is made of it.
        epoch: When the source was made, seconds since 1970; see
            `rezbuild.build.toolchain.environment`.
        patches: The files that were applied, in order.
        parts: What the source brings of others.
        inside: The payloads that this one has something of, by name.
        bundled: Which of them are there as files of their own, by name and version.
    """

    release: Release
    archive: Archive
    fingerprint: str
    epoch: int
    patches: Sequence[Path] = ()
    parts: Iterable[Part] = ()
    inside: Mapping[str, Path] | None = None
    bundled: Iterable[str] = ()


def write(payload: Path, subject: Subject) -> None:
    """Writes the bill into a payload.

    Raises:
        BuildError: A payload that it was built against has none.
    """
    from cyclonedx.output.json import JsonV1Dot6

    text = JsonV1Dot6(_bom(subject)).output_as_string(indent=1)
    (payload / FILE).write_text(text + "\n", encoding="utf-8")


def read(payload: Path) -> dict[str, Any] | None:
    """The bill of a payload as data, or None where there is none that can be read."""
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
    """Name, version and licence of everything that a bill names, its subject first."""
    listed = [data.get("metadata", {}).get("component", {}), *data.get("components", [])]
    return [(str(one.get("name")), str(one.get("version", "")), _licence(one)) for one in listed]


def _licence(component: Mapping[str, Any]) -> str:
    said = [
        one.get("expression") or one.get("license", {}).get("id") or one["license"].get("name")
        for one in component.get("licenses", [])
    ]
    return " AND ".join(map(str, said))


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
    direct = [_part(part) for part in subject.parts]
    edges: dict[str, set[str]] = {part.bom_ref.value or "": set() for part in direct}
    known = {part.bom_ref.value: part for part in direct}
    for package, root in sorted((subject.inside or {}).items()):
        it, theirs = _theirs(package, root)
        direct.append(it)
        for component in (it, *theirs.components):
            known.setdefault(component.bom_ref.value, component)
        for edge in theirs.dependencies:
            needs = {one.ref.value or "" for one in edge.dependencies}
            edges.setdefault(edge.ref.value or "", set()).update(needs)
    bom.components.update(known.values())
    for component in known.values():
        needed = [known[ref] for ref in sorted(edges.get(component.bom_ref.value or "", ()))]
        bom.register_dependency(component, needed)
    bom.register_dependency(own, [known[one.bom_ref.value] for one in direct])
    return bom


def _theirs(package: str, root: Path) -> tuple[Component, Bom]:
    """A dependency as a component, and its whole bill."""
    from cyclonedx.model.bom import Bom

    try:
        found = Bom.from_json(read(root))  # type: ignore[attr-defined]  # py-serializable adds it
    except Exception as error:  # noqa: BLE001 (whatever a damaged file makes the library raise)
        raise _unreadable(package, root, str(error)) from None
    if found is None or found.metadata.component is None:
        raise _unreadable(package, root, "it is missing, or says nothing")
    return found.metadata.component, found


def _unreadable(package: str, root: Path, reason: str) -> BuildError:
    return BuildError(
        f"the bill of materials of {package} cannot be read: {root / FILE}: {reason}",
        advice=[f"build it again: rezbuild build --force {package}"],
    )


def _part(part: Part) -> Component:
    return _component(part.name, part.version, part.license, part.cpe, part.kind)


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
    # Which of the alternatives was built. Where it came from on this machine shapes nothing.
    sums = [HashType(alg=HashAlgorithm.SHA_256, content=archive.sha256)]
    for url in archive.urls or release.archives[0].urls:
        reference = ExternalReference(
            type=ExternalReferenceType.SOURCE_DISTRIBUTION,
            url=XsUri(url),
            hashes=sums if archive.urls else None,
        )
        found.external_references.add(reference)
    said = {"rezbuild:archive": f"{archive.file} sha256:{archive.sha256}"}
    said |= {f"rezbuild:patch:{path.name}": f"sha256:{sha256(path)}" for path in subject.patches}
    said |= {"rezbuild:bundled": " ".join(sorted(subject.bundled))} if subject.bundled else {}
    for name, value in said.items():
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
        cpe=_CPE.format(product=cpe, version=version) if cpe else None,
        licenses=[LicenseExpression(license_)] if license_ else None,
    )
