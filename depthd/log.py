"""Plain log lines on standard error."""

from __future__ import annotations

import logging
import sys


def to_stderr(level: int = logging.INFO) -> None:
    """Sends depthd's log there, one line a message: time, level where it is not plain information, text."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainLine())
    logger = logging.getLogger("depthd")
    logger.handlers = [handler]
    logger.setLevel(level)
    logger.propagate = False


class PlainLine(logging.Formatter):
    """`18:04:05 text`, or `18:04:05 warning: text`."""

    def format(self, record: logging.LogRecord) -> str:
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        return f"{self.formatTime(record, '%H:%M:%S')} {level}{super().format(record)}"
