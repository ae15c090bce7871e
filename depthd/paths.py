"""Where the files beside the code lie: in the checkout, or in depthd/share of an installed wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_ROOT = _PACKAGE / "share" if (_PACKAGE / "share").is_dir() else _PACKAGE.parent

CONFIG_DIR = _ROOT / "config"
WEIGHTS_DIR = _ROOT / "weights"
