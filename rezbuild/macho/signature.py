"""The code signature of a Mach-O file: the hashes of its pages.

macOS on arm64 ends a process with a file that has no signature or a wrong one. Files of a build
have hashes only, no certificate (an ad-hoc signature). Source: cs_blobs.h of Apple's XNU.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

from rezbuild.macho.reader import MachO

_SIGNATURE, _DIRECTORY = 0xFADE0CC0, 0xFADE0C02
# Name and size in bytes, by the number in a code directory.
_HASHES = {1: ("sha1", 20), 2: ("sha256", 32), 3: ("sha256", 20), 4: ("sha384", 48)}


def problem(data: MachO) -> str:
    """Return the fault of a file's signature, or ""."""
    if data.signature is None:
        required = data.machine == "ARM64" and data.type != "object"
        return "it has no code signature" if required else ""
    offset, size = data.signature
    image = data.path.read_bytes()
    try:
        directories = _directories(image[offset : offset + size])
        fits = [_fits(image[:offset], directory) for directory in directories]
    except (struct.error, IndexError, KeyError):
        return "its code signature is damaged"
    return "" if fits and all(fits) else "it was changed after it was signed"


def _directories(blob: bytes) -> Iterator[bytes]:
    """Yield the code directories: tables of hashes, each by another algorithm."""
    magic, _, count = struct.unpack_from(">3I", blob)
    for number in range(count if magic == _SIGNATURE else 0):
        (start,) = struct.unpack_from(">I", blob, 16 + 8 * number)
        if struct.unpack_from(">I", blob, start)[0] == _DIRECTORY:
            yield blob[start:]


def _fits(signed: bytes, directory: bytes) -> bool:
    """Return whether a code directory has the hashes of the bytes before the signature."""
    table, _, _, count, limit = struct.unpack_from(">5I", directory, 16)
    (algorithm, size), page = _HASHES[directory[37]], 1 << directory[39]
    if (limit, count) != (len(signed), -(-limit // page)):
        return False
    pages = (signed[start : start + page] for start in range(0, limit, page))
    hashes = b"".join(hashlib.new(algorithm, data).digest()[:size] for data in pages)
    return directory[table : table + len(hashes)] == hashes
