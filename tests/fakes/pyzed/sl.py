"""`import pyzed.sl` in another process: FAKE_PYZED_SDK chooses the version, FAKE_PYZED_WORLD (JSON) the
world.
"""

import json
import os

from tests.fakes.pyzed.personality import build
from tests.fakes.pyzed.world import World

_given = json.loads(os.environ.get("FAKE_PYZED_WORLD", "{}"))
# JSON has no numbers as keys.
for _key in ("cameras", "faults"):
    if _key in _given:
        _given[_key] = {int(k): v for k, v in _given[_key].items()}
_world = World(**_given)
globals().update(vars(build(os.environ.get("FAKE_PYZED_SDK", "5.2"), _world)))
