"""The statement of what a payload was built from, for supply-chain policies (SLSA provenance).

The formats are in-toto's statement v1 and SLSA's provenance v1 (slsa.dev/spec/v1.0/provenance). A
signed statement is a DSSE envelope. The subject is the payload's list of checksums, which names
each file of the payload, so ``sha256sum -c`` leads from the statement to every file.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rezbuild.errors import UsageError
from rezbuild.files.hashing import sha256
from rezbuild.payload import manifest, sbom

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
MEDIA = "application/vnd.in-toto+json"
# What builds, and how. URIs that no web server has to answer.
BUILD_TYPE = "urn:rezbuild:build:1"
BUILDER = "urn:rezbuild:builder"

_EXTERNAL = ("name", "version", "profile", "glibc_floor")
_INTERNAL = (
    *("assembler", "compiler", "linker", "flags", "options", "machine", "fingerprint", "recipe"),
    "built_against",
)


def statement(
    payload: Path, record: Mapping[str, Any], bill: Mapping[str, Any], builder: str = BUILDER
) -> dict[str, Any]:
    """Return the statement of a payload.

    Args:
        payload: The payload.
        record: Its record, see `rezbuild.payload.describe.load`.
        bill: Its bill of materials.
        builder: The URI of the studio's build system.

    Raises:
        UsageError: The payload has no list of checksums, or its record or its bill was changed.
    """
    sums = payload / manifest.SUMS
    if not sums.is_file():
        raise UsageError(
            f"{sums} is missing",
            advice=["build the payload again: old versions of rezbuild wrote no such list"],
        )
    # Nobody may sign a statement whose facts are not those of the build.
    listed = manifest.read_sums(payload) or {}
    for name in (manifest.MANIFEST, sbom.FILE):
        if listed.get(name) != sha256(payload / name):
            raise UsageError(
                f"{payload / name} was changed after the build: its checksum is not in {sums.name}",
                advice=["restore the payload from a store, or build it again"],
            )
    return {
        "_type": STATEMENT,
        "subject": [
            {"name": f"{record['name']}-{record['version']}", "digest": {"sha256": sha256(sums)}}
        ],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": _chosen(record, _EXTERNAL),
                "internalParameters": _chosen(record, _INTERNAL),
                "resolvedDependencies": list(_materials(bill)),
            },
            "runDetails": {
                "builder": {"id": builder, "version": {"rezbuild": str(record.get("rezbuild"))}}
            },
        },
    }


def envelope(text: str, sign: Callable[[bytes], str], key_id: str) -> dict[str, Any]:
    """Return a signed statement as a DSSE envelope.

    Args:
        text: The statement as JSON.
        sign: Returns the signature of its argument in base64.
        key_id: A name of the key, for readers that have several.
    """
    body = text.encode()
    signed = b"DSSEv1 %d %b %d %b" % (len(MEDIA), MEDIA.encode(), len(body), body)
    return {
        "payload": base64.b64encode(body).decode("ascii"),
        "payloadType": MEDIA,
        "signatures": [{"keyid": key_id, "sig": sign(signed)}],
    }


def text(found: Mapping[str, Any]) -> str:
    """Return a statement as JSON; equal statements give equal text."""
    return json.dumps(found, indent=2, sort_keys=True)


def _chosen(record: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: record[name] for name in names if record.get(name)}


def _materials(bill: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the source archive and the patches of the payload and of each part."""
    for part in sbom.listed(bill):
        for name, value in sbom.properties(part):
            if name == sbom.ARCHIVE:
                file, _, digest = value.partition(" sha256:")
                yield {"uri": part["purl"], "name": file, "digest": {"sha256": digest}}
            elif name.startswith(sbom.PATCH):
                file = f"packages/{part['name']}/patches/{name[len(sbom.PATCH) :]}"
                yield {"name": file, "digest": {"sha256": value.partition("sha256:")[2]}}
