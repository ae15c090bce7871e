"""Asking a running daemon over its control socket: what is adjustable, what is in force, a new value.

One packet of JSON each way. Request: {} or {"set": {"fusion.prefer": "mono"}}. Answer: {"knobs": [...],
"configuration": "..."} or {"error": "..."}. Who may ask is decided by the socket's file mode; shared memory stays
read-only for everybody.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from depthd.errors import DepthdError

LONGEST_MESSAGE = 65536
ANSWER_LIMIT_S = 3.0
SYSTEM_FOLDER = Path("/run/depthd")


def socket_name(name: str) -> str:
    return f"{name}.control"


def own_folder(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Where a daemon of this user puts its socket; None where there is no such place."""
    given = environment.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    if os.geteuid() == 0:
        return SYSTEM_FOLDER
    runtime = environment.get("XDG_RUNTIME_DIR")
    return Path(runtime) / "depthd" if runtime else None


def find_socket(name: str) -> Path:
    """The socket of a running daemon: the system's first, then this user's. Raises DepthdError."""
    for folder in (SYSTEM_FOLDER, own_folder()):
        path = folder / socket_name(name) if folder else None
        if path is not None and path.exists():
            return path
    raise DepthdError(f"depthd {name} takes no changes while it runs", "set control.enabled: true and start it again")


def ask(path: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Sends one request and waits for its answer, which comes between two frames. Raises DepthdError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(ANSWER_LIMIT_S)
        try:
            connection.connect(str(path))
            connection.send(json.dumps(request).encode())
            answer = connection.recv(LONGEST_MESSAGE)
        except TimeoutError:
            raise DepthdError("depthd does not answer", "it answers between frames: look after its camera") from None
        except OSError as error:
            raise DepthdError(
                f"cannot ask depthd at {path}: {error.strerror}", "is it running, and are you in its group?"
            ) from None
    if not answer:
        raise DepthdError("depthd hung up", "see its log")
    parsed: dict[str, Any] = json.loads(answer)
    if "error" in parsed:
        raise DepthdError(str(parsed["error"]), str(parsed.get("remedy", "choose another value")))
    return parsed
