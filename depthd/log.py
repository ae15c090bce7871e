"""Where log lines go: plain lines to standard error, or entries with fields to systemd's journal."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Mapping

JOURNAL_SOCKET = "/run/systemd/journal/socket"
FIELDS = ("FRAME_ID", "CAMERA", "STAGE")
"""What a log call may carry beside its text: `log.info(..., extra={"FRAME_ID": 7})`."""

_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7))


def configure(level: int = logging.INFO) -> None:
    """Sends depthd's log to the journal where standard error goes there, else to standard error."""
    logger = logging.getLogger("depthd")
    logger.handlers = [_handler()]
    logger.setLevel(level)
    logger.propagate = False


class PlainLine(logging.Formatter):
    """`18:04:05 text`, or `18:04:05 warning: text`."""

    def format(self, record: logging.LogRecord) -> str:
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        return f"{self.formatTime(record, '%H:%M:%S')} {level}{super().format(record)}"


class JournalHandler(logging.Handler):
    """Speaks the journal's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL), one datagram an entry."""

    def __init__(self, path: str = JOURNAL_SOCKET) -> None:
        super().__init__()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.connect(path)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._socket.send(_entry(self.format(record), record))
        except OSError:
            self.handleError(record)

    def close(self) -> None:
        self._socket.close()
        super().close()


def _entry(message: str, record: logging.LogRecord) -> bytes:
    fields = {
        "MESSAGE": message,
        "PRIORITY": next(priority for level, priority in _PRIORITIES if record.levelno >= level),
        "SYSLOG_IDENTIFIER": "depthd",
        "LOGGER": record.name,
        "CODE_FILE": record.pathname,
        "CODE_LINE": record.lineno,
        "CODE_FUNC": record.funcName,
    }
    fields |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
    return b"".join(_field(name, str(value)) for name, value in fields.items())


def _field(name: str, value: str) -> bytes:
    data = value.encode()
    if b"\n" not in data:
        return name.encode() + b"=" + data + b"\n"
    return name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"


def _handler(environment: Mapping[str, str] = os.environ) -> logging.Handler:
    if _stderr_is_journal(environment):
        try:
            return JournalHandler()
        except OSError:
            pass  # no journal to reach from here: its stream still takes plain lines
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainLine())
    return handler


def _stderr_is_journal(environment: Mapping[str, str]) -> bool:
    """systemd names the device and inode of the journal's stream in JOURNAL_STREAM (systemd.exec(5))."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
