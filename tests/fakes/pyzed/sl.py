"""`import pyzed.sl` in another process: FAKE_PYZED_SDK chooses the version, FAKE_PYZED_WORLD (JSON) the
world.
"""

import json
import os

from tests.fakes.pyzed.personality import build
from tests.fakes.pyzed.world import World

_world = World(**json.loads(os.environ.get("FAKE_PYZED_WORLD", "{}")))
globals().update(vars(build(os.environ.get("FAKE_PYZED_SDK", "5.2"), _world)))
