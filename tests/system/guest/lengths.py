"""How long the long tests are: minutes in the suite, `make soak` at full length, DEPTHD_... as asked."""

from __future__ import annotations

import os

SOAK = os.environ.get("DEPTHD_SOAK") == "1"
KILLS = int(os.environ.get("DEPTHD_KILLS", 200 if SOAK else 12))
SECONDS = int(os.environ.get("DEPTHD_SECONDS", 3600 if SOAK else 40))
SEED = int(os.environ.get("DEPTHD_SEED", 7))
