"""Whether Numba may keep compiled code on disk."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path

_ROOM_NEEDED = 2**20


def can_be_kept() -> bool:
    """False where the cache folder takes no more data: Numba would end the process, not go on without.

    The folder is Numba's: NUMBA_CACHE_DIR, else beside the code. A folder that this user may not write is no
    obstacle, Numba finds another one itself.
    """
    return _takes_data(os.environ.get("NUMBA_CACHE_DIR") or str(Path(__file__).parent))


@cache
def _takes_data(folder: str) -> bool:
    """Once a folder: there are dozens of compiled functions, and each would put a megabyte on the disk first."""
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            os.posix_fallocate(probe.fileno(), 0, _ROOM_NEEDED)
    except PermissionError:
        return True
    except OSError:
        return False
    return True
