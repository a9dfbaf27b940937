"""SHA-256 of files and bytes."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

CHUNK_BYTES = 1 << 20


def sha256_of(data: Path | bytes | Iterable[bytes]) -> str:
    """Hexadecimal SHA-256 of a file, of bytes, or of chunks of bytes one after another; raises OSError."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    digest = hashlib.sha256()
    for chunk in chunks_of(data) if isinstance(data, Path) else data:
        digest.update(chunk)
    return digest.hexdigest()


def chunks_of(path: Path) -> Iterator[bytes]:
    """The bytes of a file, a chunk at a time; raises OSError."""
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
