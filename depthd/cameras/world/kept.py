"""Packed scenes on disk. Painting textures and baking light take most of the virtual camera's start, and give the same
bytes for the same scene, seed and code.
"""

from __future__ import annotations

import hashlib
import logging
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from depthd.cameras.world.raycast import Surfaces
from depthd.errors import DepthdError
from depthd.files import written_whole

log = logging.getLogger(__name__)

MOST_KEPT = 6


def file_of(folder: Path, scene: str, seed: int) -> Path:
    """Another name where the code is another: what it would draw may be another picture."""
    code = hashlib.sha256(np.__version__.encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        code.update(source.read_bytes())
    return folder / f"scene-{scene}-{seed}-{code.hexdigest()[:16]}.npz"


def kept_or_made(file: Path, make: Callable[[], Surfaces]) -> Surfaces:
    """What the file holds; else what `make` gives, which is kept there if there is room. A damaged file is replaced."""
    with suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile), np.load(file) as arrays:
        return Surfaces(**{name: arrays[name] for name in Surfaces._fields})
    surfaces = make()
    try:
        with written_whole(file) as temporary:
            np.savez(temporary, **surfaces._asdict())
        _remove_all_but_the_newest(file.parent)
    except (DepthdError, OSError) as error:
        log.info("the scene is not kept for the next start: %s", error)
    return surfaces


def _remove_all_but_the_newest(folder: Path) -> None:
    """Hidden ones too: what a process that was killed was writing."""
    files = sorted(folder.glob("*scene-*.npz"), key=lambda path: path.stat().st_mtime)
    for stale in files[:-MOST_KEPT]:
        stale.unlink(missing_ok=True)
