"""Telling systemd how the service is: one datagram a message, see sd_notify(3)."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping


class Notifier:
    """Sends states to systemd; says nothing where there is no systemd (socket_path None)."""

    def __init__(self, socket_path: str | None) -> None:
        self._socket: socket.socket | None = None
        self._address = ""
        if socket_path:
            # '@' stands for the zero byte of an abstract address.
            self._address = "\0" + socket_path[1:] if socket_path.startswith("@") else socket_path
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def ready(self, status: str) -> None:
        self._send(READY="1", STATUS=status)

    def status(self, text: str) -> None:
        self._send(STATUS=text)

    def reloading(self) -> None:
        self._send(RELOADING="1", MONOTONIC_USEC=str(time.monotonic_ns() // 1000))

    def stopping(self) -> None:
        self._send(STOPPING="1")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, **state: str) -> None:
        if self._socket is None:
            return
        message = "\n".join(f"{key}={' '.join(value.split())}" for key, value in state.items())
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError:
            # A supervisor that does not listen must not stop the frames.
            return


def notify_socket(environment: Mapping[str, str] = os.environ) -> str | None:
    return environment.get("NOTIFY_SOCKET") or None


def watchdog_period_s(environment: Mapping[str, str] = os.environ, process_id: int | None = None) -> float:
    """How often systemd wants to hear from this process: half of WATCHDOG_USEC; 0 = never."""
    for_process = environment.get("WATCHDOG_PID")
    if for_process and for_process != str(process_id or os.getpid()):
        return 0.0
    return int(environment.get("WATCHDOG_USEC", "0")) / 2e6
