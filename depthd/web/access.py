"""Who may look: a token where the page can be reached from other machines, and no other site's scripts
ever.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from depthd.errors import UsageError

COOKIE = "depthd_token"
SHORTEST_TOKEN = 12
_ASK = """<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>depthd</title><body style="font:16px system-ui;margin:3rem">
<form><p>{}<p><label>Token / トークン <input name="token" type="password" autofocus></label>
<button>OK</button></form>
"""


def is_loopback(address: str) -> bool:
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def token_for(address: str, token: str | None) -> str | None:
    """The token in force: the given one; a new one where other machines reach the page; none on loopback."""
    if token is not None and len(token) < SHORTEST_TOKEN:
        raise UsageError(f"the token is shorter than {SHORTEST_TOKEN} characters", "give a longer one, or none")
    if token is None and not is_loopback(address):
        return secrets.token_urlsafe(18)
    return token


def token_in(path: Path) -> str:
    """The first line of a file. Raises UsageError where it is not to be read or says nothing."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no text in UTF-8"
        raise UsageError(f"cannot read the token in {path}: {reason}", "name a file that holds it") from None
    token = lines[0].strip() if lines else ""
    if not token:
        raise UsageError(f"{path} holds no token", f"write one of at least {SHORTEST_TOKEN} characters into it")
    return token


class Gate:
    """Lets a request through or answers it. token: None where everybody on this machine may look."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    @web.middleware
    async def middleware(self, request: web.Request, handler: object) -> web.StreamResponse:
        self._refuse_strange_sites(request)
        if self._token is not None:
            given = request.query.get("token")
            if given is not None and self._right(given):
                return self._remember(request, given)
            if not self._right(request.cookies.get(COOKIE, "")):
                said = "This token is not right. / トークンが違います。" if given else ""
                return web.Response(status=401, text=_ASK.format(said), content_type="text/html")
        response: web.StreamResponse = await handler(request)  # type: ignore[operator]
        return response

    def _right(self, given: str) -> bool:
        return self._token is not None and hmac.compare_digest(given.encode(), self._token.encode())

    def _remember(self, request: web.Request, token: str) -> web.Response:
        """Moves the token out of the address, where it would be seen, into a cookie that scripts cannot
        read.
        """
        response = web.HTTPFound(request.path)
        response.set_cookie(COOKIE, token, httponly=True, samesite="Strict", max_age=30 * 24 * 3600)
        raise response

    def _refuse_strange_sites(self, request: web.Request) -> None:
        """A page of another site must not read depth through the visitor's browser: neither by a WebSocket,
        which
        browsers open across sites, nor by a name of its own that it points at this machine.
        """
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise web.HTTPForbidden(text="depthd: this page belongs to another site\n")
        if self._token is None and not is_loopback(urlsplit(f"//{request.host}").hostname or ""):
            raise web.HTTPForbidden(text="depthd: open it as http://127.0.0.1 or http://localhost\n")
