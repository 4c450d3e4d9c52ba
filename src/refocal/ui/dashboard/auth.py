"""Who may ask: known host names only, a token where one is set, no requests from other sites; and what browsers may do.

- A page of another site that made its name point here (DNS rebinding) sends its own name as Host: refused.
- A form or script of another site sends its own Origin: refused. Changes must be JSON, which no form can send.
- The token is compared in constant time, a wrong one is answered late, and the cookie holds a hash of it.
"""

import asyncio
import hashlib
import hmac
import ipaddress
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from importlib.resources import files
from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
"""On every answer."""
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_LATE_SECONDS = 0.5
_LONGEST_LOGIN = 4096
_SMALL = frozenset({"/login", "/static/style.css", "/static/theme.js"})
"""What is given without a token."""


class Guard:
    """Wraps an ASGI application.

    Parameters
    ----------
    app
        The application.
    token
        Demanded from everybody if set.
    hosts
        Host names, besides the names of this very machine to itself, under which the dashboard is reached.
    addresses
        Whether any numeric address is also accepted as a host (a rebinding attack needs a name).
    """

    def __init__(self, app: ASGIApp, *, token: str | None, hosts: Iterable[str] = (), addresses: bool = False) -> None:
        self._app = app
        self._token = token
        self._hosts = _LOCAL | {host.lower().strip("[]") for host in hosts}
        self._addresses = addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the application answer."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            request = Request(scope, receive)
            refusal = self._refusal(request) or await self._entrance(request)
            await (refusal or self._app)(scope, receive, _with_headers(send))
        # Nothing here speaks over web sockets: the server answers them with an error.

    def _refusal(self, request: Request) -> Response | None:
        host = _host(request.headers.get("host", ""))
        if host not in self._hosts and not (self._addresses and _is_address(host)):
            return _error(421, "this dashboard is not reached under that name; see --allow-host")
        if request.method not in ("GET", "HEAD", "POST"):
            return _error(405, "only GET and POST")
        if request.method == "POST":
            origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "same-origin")
            here = request.headers.get("host", "").lower()
            if site != "same-origin" or (origin is not None and urlsplit(origin.lower()).netloc != here):
                return _error(403, "the request comes from another site")
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != ("application/x-www-form-urlencoded" if request.url.path == "/login" else "application/json"):
                return _error(415, "expected application/json")
        return None

    async def _entrance(self, request: Request) -> Response | None:
        """Return an answer to those who show or lack the token; None lets them in."""
        if self._token is None:
            return None
        name = f"refocal_{request.url.port or 80}"
        if request.url.path == "/login" and request.method == "POST":
            shown = await _posted_token(request)
        elif "token" in request.query_params and request.method == "GET":
            shown = request.query_params["token"]
        else:
            return None if request.url.path in _SMALL or self._known(request, name) else _ask()
        if not _same(shown, self._token):
            await asyncio.sleep(_LATE_SECONDS)
            return _ask()
        answer = RedirectResponse("/", 303)
        answer.set_cookie(name, _pass(self._token), max_age=30 * 86400, httponly=True, samesite="strict")
        return answer

    def _known(self, request: Request, name: str) -> bool:
        assert self._token is not None
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return _same(bearer.strip(), self._token)
        try:
            cookie = SimpleCookie(request.headers.get("cookie", "")).get(name)
        except CookieError:
            return False
        return cookie is not None and _same(cookie.value, _pass(self._token))


def _pass(token: str) -> str:
    return hmac.new(token.encode(), b"refocal dashboard", hashlib.sha256).hexdigest()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


async def _posted_token(request: Request) -> str:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LONGEST_LOGIN:
            return ""
    return parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0].strip()


def _ask() -> Response:
    page = files("refocal.ui.dashboard").joinpath("static/login.html").read_text(encoding="utf-8")
    return HTMLResponse(page, 401, {"cache-control": "no-store", "www-authenticate": "Bearer"})


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status)


def _host(header: str) -> str:
    """Return the host of a Host header without its port, in lower case."""
    header = header.lower().strip()
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rpartition(":")[0] if header.count(":") == 1 else header


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _with_headers(send: Send) -> Send:
    added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await send(message)

    return sending
