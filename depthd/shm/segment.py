"""Files in /dev/shm: who may use a name, and how an object comes under it whole, locked and with the right
mode.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
from dataclasses import dataclass

from depthd import _shm
from depthd.errors import DepthdError
from depthd.shm.layout import DIRECTORY, HEADER, PID_OFFSET, ErrorCode, LockHolder

_RACES = 20
"""How often a name may change hands while we look at it before we give up."""


@dataclass(frozen=True)
class Claim:
    """An open file that is ours: locked, under its name, and with its final mode.

    adopted: it was a dead writer's and has the wanted layout; otherwise it is new and its header is still to
    be written by the caller, before `give_name`.
    """

    fd: int
    adopted: bool
    replaces_fd: int | None


def object_path(name: str) -> str:
    """The file of an object. Raises DepthdError for a name that is none."""
    if not _shm.name_is_good(name):
        raise DepthdError(f"{name!r} is not a name for shared memory", "use 1 to 64 letters, digits, '_', '-', '.'")
    return DIRECTORY + name


def claim(name: str, plan: _shm.Plan, mode: int) -> Claim:
    """Finds out whether `name` is free, dead or alive, and returns a locked file for it.

    Raises DepthdError, one line, for a name that is in use or not depthd's.
    """
    path = object_path(name)
    for _ in range(_RACES):
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return Claim(_create(name, plan, mode), adopted=False, replaces_fd=None)
        except OSError as error:
            raise _cannot_open(path, error) from None
        try:
            inherited = _inherit(fd, name, path, plan, mode)
        except BaseException:
            os.close(fd)
            raise
        if inherited is not None:
            return inherited
        os.close(fd)
    raise DepthdError(f"{path} changes hands all the time", "see which processes use this name")


def give_name(claimed: Claim, name: str) -> bool:
    """Puts a new object, complete with its header, under its name; retires the one that it replaces.

    False if another writer was faster: claim again.
    """
    path = object_path(name)
    if claimed.replaces_fd is None:
        try:
            _shm.link_file(claimed.fd, path)
        except FileExistsError:
            return False
        return True
    temporary = f"{DIRECTORY}.{name}.{secrets.token_hex(8)}"
    _shm.link_file(claimed.fd, temporary)
    os.rename(temporary, path)
    # Only now, so that readers who see the mark find the new object under the name.
    _shm.retire_file(claimed.replaces_fd)
    return True


def remove_name(name: str, inode: int) -> None:
    """Removes the name if it still means the object with this inode number."""
    path = object_path(name)
    try:
        if os.stat(path, follow_symlinks=False).st_ino == inode:
            os.unlink(path)
    except FileNotFoundError:
        pass


def _inherit(fd: int, name: str, path: str, plan: _shm.Plan, mode: int) -> Claim | None:
    """Decides about an existing file; None if the name changed hands in the meantime."""
    status = os.fstat(fd)
    code = _shm.check_file(fd) if stat.S_ISREG(status.st_mode) else ErrorCode.NOT_DEPTHD
    if code == ErrorCode.NOT_DEPTHD:
        raise DepthdError(f"{path} exists and is not depthd's", "choose another name, or remove the file")
    locked = _shm.lock_writer(fd)
    if not locked and _shm.find_lock_holder(fd) == LockHolder.WRITER:
        raise DepthdError(
            f"shared memory name {name!r} is in use by a running writer (process {_writer_pid(fd)})",
            "stop that one, or choose another name",
        )
    if status.st_uid != os.geteuid():
        # Whoever made the file can write to it as long as they like.
        raise DepthdError(f"{path} was left by another user (uid {status.st_uid})", "remove it, or choose another name")
    if not _is_under(path, status):
        return None
    if locked and code == ErrorCode.OK and _shm.has_layout(fd, plan):
        os.fchmod(fd, mode)
        return Claim(fd, adopted=True, replaces_fd=None)
    return Claim(_create(name, plan, mode), adopted=False, replaces_fd=fd)


def _is_under(path: str, status: os.stat_result) -> bool:
    try:
        named = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (named.st_dev, named.st_ino) == (status.st_dev, status.st_ino)


def _create(name: str, plan: _shm.Plan, mode: int) -> int:
    """A new file without a name, locked, with all its memory: a full /dev/shm is an error here, not a SIGBUS
    later.
    """
    try:
        fd = os.open(DIRECTORY, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DepthdError(
            f"cannot make an object in {DIRECTORY}: {error.strerror}",
            "mount a tmpfs there that you may write to",
        ) from None
    try:
        _shm.lock_writer(fd)
        os.posix_fallocate(fd, 0, plan.total_bytes)
        os.fchmod(fd, mode)
    except OSError as error:
        os.close(fd)
        if error.errno not in (errno.ENOSPC, errno.ENOMEM, errno.EFBIG, errno.EDQUOT):
            raise
        raise DepthdError(
            f"no room in {DIRECTORY} for {name!r}: {plan.total_bytes / 2**20:.0f} MiB needed",
            "enlarge it (docker: --shm-size), or publish fewer slots or planes",
        ) from None
    return fd


def _writer_pid(fd: int) -> int:
    return int.from_bytes(os.pread(fd, HEADER["pid"].itemsize, PID_OFFSET), sys.byteorder)


def _cannot_open(path: str, error: OSError) -> DepthdError:
    if error.errno == errno.ELOOP:
        return DepthdError(f"{path} is a symbolic link", "remove it, or choose another name")
    if error.errno in (errno.EACCES, errno.EPERM):
        return DepthdError(f"{path} belongs to another user", "remove it, or choose another name")
    return DepthdError(f"cannot open {path}: {error.strerror}", "remove it, or choose another name")
