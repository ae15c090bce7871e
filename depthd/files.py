"""Files that are whole or absent: written under a temporary name, then renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from depthd.errors import DepthdError


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`; renamed at the end, removed on error. Raises DepthdError."""
    temporary = _temporary_beside(path)
    with _told_to_the_user(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def folder_written_whole(folder: Path) -> Iterator[Path]:
    """Gives an empty temporary folder beside `folder`. At the end its files are renamed into `folder`.

    A new folder appears at once with everything in it. In a folder that exists, files of other names stay.
    Raises DepthdError where it cannot be written.
    """
    temporary = _temporary_beside(folder)
    with _told_to_the_user(folder):
        if folder.exists() and not folder.is_dir():
            raise DepthdError(f"{folder} is a file", "give the name of a folder")
        temporary.mkdir(parents=True)
        try:
            yield temporary
            _rename_into_place(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _rename_into_place(temporary: Path, folder: Path) -> None:
    if not folder.exists():
        temporary.rename(folder)
        return
    for file in sorted(temporary.iterdir()):
        os.replace(file, folder / file.name)


def _temporary_beside(path: Path) -> Path:
    # The process id keeps two writers apart; the suffix stays, because picture writers go by it.
    return path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")


@contextmanager
def _told_to_the_user(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DepthdError(
            f"cannot write {path}: {error.strerror or error}",
            "check the name, the permissions and the free space",
        ) from error
