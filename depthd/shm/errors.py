"""What can go wrong for a reader; each is a DepthdError, so it ends in one line that says what to do."""

from __future__ import annotations

from depthd import _shm
from depthd.errors import DepthdError

_CODES = _shm.constants()


class NotRunning(DepthdError):
    """Nobody publishes under this name."""


class WrongVersion(DepthdError):
    """The writer speaks another major version of the format, or another byte order."""


class PermissionDenied(DepthdError):
    """The object may not be read by this user."""


class DamagedObject(DepthdError):
    """The object is not depthd's, or its header contradicts itself."""


class Timeout(DepthdError):
    """No new frame in time. Waiting again is right."""


class WriterDied(Timeout):
    """No new frame in time, and the writer is dead. Waiting again is right: its successor goes on in the same
    place.
    """


class Overwritten(DepthdError):
    """The writer came round while a frame was being copied; the next frame is newer anyway."""


_CLASSES: dict[int, type[DepthdError]] = {
    _CODES["NOT_RUNNING"]: NotRunning,
    _CODES["PERMISSION_DENIED"]: PermissionDenied,
    _CODES["NOT_DEPTHD"]: DamagedObject,
    _CODES["WRONG_VERSION"]: WrongVersion,
    _CODES["WRONG_BYTE_ORDER"]: WrongVersion,
    _CODES["DAMAGED"]: DamagedObject,
    _CODES["TIMEOUT"]: Timeout,
    _CODES["WRITER_DIED"]: WriterDied,
    _CODES["RETIRED"]: NotRunning,
    _CODES["OVERWRITTEN"]: Overwritten,
}


def error_for(code: int, name: str) -> DepthdError:
    """The exception for an error code of depthd.h about the object `name`."""
    what, _, remedy = _shm.error_text(code).partition("; ")
    return _CLASSES.get(code, DepthdError)(f"shared memory {name!r}: {what}", remedy or "see docs/shared-memory.md")
