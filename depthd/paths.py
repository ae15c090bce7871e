"""Where the files beside the code lie: in the checkout, or in depthd/share of an installed wheel."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_ROOT = _PACKAGE / "share" if (_PACKAGE / "share").is_dir() else _PACKAGE.parent

CONFIG_DIR = _ROOT / "config"
WEIGHTS_DIR = _ROOT / "weights"
KERNELS_DIR = _ROOT / "kernels"
"""Holds fusion.cu."""
_NATIVE = _ROOT if (_ROOT / "include").is_dir() else _ROOT / "kernels"
INCLUDE_DIR = _NATIVE / "include"
"""Holds depthd.h."""
PKG_CONFIG_DIR = _NATIVE / "pkgconfig"
"""To be added to PKG_CONFIG_PATH."""
CMAKE_DIR = _NATIVE / "cmake"
"""For `cmake -Ddepthd_DIR=`."""


def cflags() -> str:
    """What a C or C++ compiler needs to find depthd.h; there is nothing to link."""
    return f"-I{shlex.quote(str(INCLUDE_DIR))}"


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path | None:
    """For what can be made again: the service's own (systemd's CacheDirectory=), else the user's. It may not exist.

    None for a user without a home.
    """
    given = environment.get("CACHE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    home = environment.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "depthd" if os.path.isabs(home) else None
