"""A reader in a process of its own: python shm_reader_process.py NAME FRAMES. Prints what it saw as JSON.

It copies every frame and looks whether all bytes of all planes are the one that its metadata promises.
Now and then it dawdles in the middle of a copy, so that the writer comes round: `caught` counts torn copies
that valid() disowned, `torn` those that it did not.
"""

import json
import sys
import time

import numpy as np

import depthd
from depthd.shm.errors import NotRunning, Timeout

BYTE_VALUES = 251
DAWDLE_EVERY = 16
DAWDLE_S = 0.002


def copy_is_torn(frame: depthd.Frame, dawdle: bool) -> bool:
    value = frame.camera_index % BYTE_VALUES
    torn = frame.pixels_per_source[0] != frame.camera_index
    for plane in (frame.depth, frame.source, frame.sigma, frame.left, frame.stereo_depth):
        if plane is None:
            continue
        copy = plane.copy()
        torn |= bool((copy.view(np.uint8) != value).any())
        if dawdle:
            time.sleep(DAWDLE_S)
    return torn


def take_one(reader: depthd.Reader, seen: dict[str, int], dawdle: bool) -> None:
    try:
        frame = reader.wait(timeout=5.0)
    except (Timeout, NotRunning):
        seen["gone"] += 1
        return
    torn = copy_is_torn(frame, dawdle)
    if frame.valid():
        seen["accepted"] += 1
        seen["torn"] += torn
    else:
        seen["rejected"] += 1
        seen["caught"] += torn


def main() -> None:
    name, wanted = sys.argv[1], int(sys.argv[2])
    seen = dict.fromkeys(("accepted", "rejected", "torn", "caught", "gone"), 0)
    turn = 0
    with depthd.open(name) as reader:
        while seen["accepted"] < wanted and seen["gone"] < 5:
            take_one(reader, seen, dawdle=turn % DAWDLE_EVERY == 0)
            turn += 1
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
