"""depthd: hole-free metric depth for robots, published in shared memory.

with depthd.open() as reader:
    frame = reader.wait(timeout=1.0)
    nearest_m = numpy.nanmin(frame.depth)
    if frame.valid(): ...
"""

from __future__ import annotations

from depthd.frame import FitStatus, Source
from depthd.shm.reader import Frame, Reader
from depthd.shm.reader import open_reader as open

__all__ = ["FitStatus", "Frame", "Reader", "Source", "__version__", "open"]


def __getattr__(name: str) -> str:
    """`__version__`, looked up when it is asked for: reading it costs a start more than all of this package's code."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version("depthd")
