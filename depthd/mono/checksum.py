"""SHA-256 of model files, computed once per file.

The result is kept beside the file (`.NAME.sha256`, with size and modification time), so that a service that
starts again does not read a gigabyte first. The note guards against accidents, not against someone who writes
both files.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

from depthd.errors import DepthdError


def verify_checksum(path: Path, sha256: str) -> None:
    """Raises DepthdError unless the file has this checksum."""
    found = checksum(path)
    if found != sha256:
        raise DepthdError(
            f"{path} is damaged or another version: SHA-256 {found[:12]}…, expected {sha256[:12]}…",
            "remove it and fetch it again",
        )


def checksum(path: Path) -> str:
    """SHA-256 in hex; from the note beside the file if size and modification time still agree."""
    try:
        status = path.stat()
        note = path.with_name(f".{path.name}.sha256")
        key = {"size": status.st_size, "modified_ns": status.st_mtime_ns}
        noted = _read(note)
        if noted is not None and {k: noted.get(k) for k in key} == key and isinstance(noted.get("sha256"), str):
            return str(noted["sha256"])
        with path.open("rb") as file:
            found = _sha256(file)
    except OSError as error:
        raise DepthdError(f"cannot read {path}: {error.strerror}", "check its permissions") from None
    _write(note, {**key, "sha256": found})
    return found


def _sha256(file) -> str:  # type: ignore[no-untyped-def]
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _read(note: Path) -> dict[str, object] | None:
    try:
        content = json.loads(note.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _write(note: Path, content: dict[str, object]) -> None:
    """A folder that cannot be written only costs the time of computing again."""
    temporary = note.with_name(f"{note.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        temporary.write_text(json.dumps(content))
        temporary.replace(note)
