"""The daemon's side of the control socket (depthd/control.py): a few knobs, changed between two frames."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from depthd import config as configuration
from depthd.config import Config
from depthd.control import LONGEST_MESSAGE, own_folder, socket_name
from depthd.errors import DepthdError

log = logging.getLogger(__name__)

MOST_WAITING = 4
PATIENCE_S = 1.0
"""Whoever connects and says nothing for so long is sent away."""


class Control:
    """Answers without ever waiting: `serve` is called once a frame and takes what is there."""

    def __init__(self, config: Config) -> None:
        """Opens the socket where the configuration wants one. Raises DepthdError."""
        self._listening: socket.socket | None = None
        self._waiting: list[tuple[socket.socket, float]] = []
        if config.control.enabled:
            self._path = _path_for(config)
            self._listening = _listen(self._path, config.control.mode)
            log.info("control: %s may be changed at %s", ", ".join(config.control.adjustable) or "nothing", self._path)

    def serve(self, config: Config, apply: Callable[[Config], Config]) -> None:
        """Answers what has been asked since the last frame. apply: takes over a tree and returns the one in force;
        may raise DepthdError.
        """
        if self._listening is None:
            return
        with suppress(BlockingIOError):
            connection, _ = self._listening.accept()
            connection.setblocking(False)
            self._waiting.append((connection, time.monotonic() + PATIENCE_S))
        if not self._waiting:
            return
        still = []
        for connection, until_s in self._waiting:
            if self._answered(connection, config, apply) or time.monotonic() > until_s:
                connection.close()
            else:
                still.append((connection, until_s))
        for connection, _ in still[:-MOST_WAITING]:
            connection.close()
        self._waiting = still[-MOST_WAITING:]

    def close(self) -> None:
        for connection, _ in self._waiting:
            connection.close()
        if self._listening is not None:
            self._listening.close()
            self._path.unlink(missing_ok=True)

    def _answered(self, connection: socket.socket, config: Config, apply: Callable[[Config], Config]) -> bool:
        try:
            packet = connection.recv(LONGEST_MESSAGE)
            if packet:
                connection.send(json.dumps(_answer(packet, config, apply)).encode())
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True


def _answer(packet: bytes, config: Config, apply: Callable[[Config], Config]) -> dict[str, Any]:
    try:
        request = json.loads(packet)
        changes = request.get("set", {}) if isinstance(request, dict) else None
        if not isinstance(changes, dict):
            raise ValueError
    except ValueError:
        return {"error": "the request is not understood", "remedy": "see depthd/control.py"}
    try:
        if changes:
            config = apply(changed(config, changes))
            log.info("control: %s", ", ".join(f"{key} = {value}" for key, value in changes.items()))
    except DepthdError as error:
        log.warning("control: %s", error)
        return {"error": error.what, "remedy": error.remedy}
    return {"knobs": knobs_of(config), "configuration": configuration.to_yaml(config)}


def changed(config: Config, changes: dict[str, Any]) -> Config:
    """The tree with some knobs changed, checked as a file is. Raises DepthdError for what is not adjustable."""
    data = config.model_dump()
    for key, value in changes.items():
        if key not in config.control.adjustable:
            raise DepthdError(f"{key} cannot be changed while depthd runs", "list it in control.adjustable")
        section, leaf = key.split(".")
        data[section][leaf] = value
    return configuration.checked(data)


def knobs_of(config: Config) -> list[dict[str, Any]]:
    """Of each adjustable key: value, description, and what it may be (type, enum, minimum, ... as in JSON Schema)."""
    knobs = []
    for key in config.control.adjustable:
        section, leaf = key.split(".")
        part = getattr(config, section)
        schema = type(part).model_json_schema()["properties"][leaf]
        knobs.append({**schema, "key": key, "value": getattr(part, leaf)})
    return knobs


def _path_for(config: Config) -> Path:
    if config.control.socket is not None:
        return config.control.socket
    folder = own_folder()
    if folder is None:
        raise DepthdError("there is no folder for the control socket", "set control.socket, or XDG_RUNTIME_DIR")
    return folder / socket_name(config.name)


def _listen(path: Path, mode: int) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        if path.is_socket():
            path.unlink()
        listening.bind(str(path))
        path.chmod(mode)
        listening.listen(MOST_WAITING)
    except OSError as error:
        listening.close()
        raise DepthdError(
            f"cannot open the control socket {path}: {error.strerror or error}", "set control.socket to another path"
        ) from None
    listening.setblocking(False)
    return listening
