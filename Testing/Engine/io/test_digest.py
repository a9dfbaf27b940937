"""One SHA-256 for files, bytes and chunks."""

import hashlib

import pytest

from SpleenSmoothSegLib.io import digest
from SpleenSmoothSegLib.io.digest import sha256_of


def test_sha256_of_file_bytes_and_chunks_are_equal(tmp_path, monkeypatch):
    monkeypatch.setattr(digest, "CHUNK_BYTES", 3)
    data = b"0123456789"
    (tmp_path / "file").write_bytes(data)
    expected = hashlib.sha256(data).hexdigest()
    assert sha256_of(tmp_path / "file") == sha256_of(data) == sha256_of([data[:4], b"", data[4:]]) == expected


def test_sha256_of_a_missing_file_raises_oserror(tmp_path):
    with pytest.raises(OSError):
        sha256_of(tmp_path / "missing")
