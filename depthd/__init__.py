"""depthd: hole-free metric depth for robots, published in shared memory.

with depthd.open() as reader:
    frame = reader.wait(timeout=1.0)
    nearest_m = numpy.nanmin(frame.depth)
    if frame.valid(): ...
"""

from importlib.metadata import version

from depthd.frame import FitStatus, Source
from depthd.shm.reader import Frame, Reader
from depthd.shm.reader import open_reader as open

__all__ = ["FitStatus", "Frame", "Reader", "Source", "__version__", "open"]
__version__ = version("depthd")
