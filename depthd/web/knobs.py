"""The few keys of the configuration that the daemon lets be changed, as the page shows and turns them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from depthd import control
from depthd.errors import UsageError

_SHOWN = (
    "key", "value", "description", "type", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
)  # fmt: skip


def read(name: str, socket: Path | None) -> list[dict[str, Any]]:
    """The knobs of a running daemon. socket: its control socket, None: where it is by default.

    Raises DepthdError where it has none.
    """
    return _shown(control.ask(socket or control.find_socket(name), {}))


def turn(name: str, socket: Path | None, change: dict[str, Any]) -> list[dict[str, Any]]:
    """Changes one and returns all as they are then. Raises DepthdError."""
    return _shown(control.ask(socket or control.find_socket(name), {"set": change}))


def change_of(text: str) -> dict[str, Any]:
    """{"key": ..., "value": ...} as JSON -> {key: value}. Raises UsageError."""
    try:
        message = json.loads(text)
        return {str(message["key"]): message["value"]}
    except (ValueError, KeyError, TypeError):
        raise UsageError("this is no change of a knob", 'send {"key": ..., "value": ...}') from None


def _shown(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [{name: knob[name] for name in _SHOWN if name in knob} for knob in answer["knobs"]]
