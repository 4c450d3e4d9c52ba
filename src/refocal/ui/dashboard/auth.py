"""Who may ask: known host names only, a token where one is set, no requests from other sites; and what browsers may do.

- A page of another site that made its name point here (DNS rebinding) sends its own name as Host: refused.
- A form or script of another site sends its own Origin: refused. Changes must be JSON, which no form can send.
- The token is compared in constant time, a wrong one is answered late, and the cookie holds a hash of it. After some
  wrong ones, of one address or of all, no token is looked at for a while; who is logged in stays so.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import time
from collections import deque
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from importlib.resources import files
from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from refocal.core.errors import BadOptionError
from refocal.ui.dashboard.request_body import received

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
_MOST_WRONG, _MOST_WRONG_OF_ONE = 60, 10
WAIT_SECONDS = 60.0
"""Wrong tokens are remembered for so long."""
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
        self._attempts = _Attempts()

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
            if shown is None:
                return _error(400, "expected a token")
        elif "token" in request.query_params and request.method == "GET":
            shown = request.query_params["token"]
        else:
            return None if request.url.path in _SMALL else await self._let_in(request, name)
        if self._attempts.too_many(client := _client(request)):
            return _later()
        if not _same(shown, self._token):
            self._attempts.wrong(client)
            await asyncio.sleep(_LATE_SECONDS)
            return _ask()
        answer = RedirectResponse("/", 303)
        answer.set_cookie(name, _pass(self._token), max_age=30 * 86400, httponly=True, samesite="strict")
        return answer

    async def _let_in(self, request: Request, name: str) -> Response | None:
        assert self._token is not None
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            if self._attempts.too_many(client := _client(request)):
                return _later()
            if _same(bearer.strip(), self._token):
                return None
            self._attempts.wrong(client)
            await asyncio.sleep(_LATE_SECONDS)
            return _ask()
        try:
            cookie = SimpleCookie(request.headers.get("cookie", "")).get(name)
        except CookieError:
            return _ask()
        return None if cookie is not None and _same(cookie.value, _pass(self._token)) else _ask()


class _Attempts:
    """Wrong tokens of the last minute; their number is bounded, because no more are looked at."""

    def __init__(self) -> None:
        self._wrong: deque[tuple[float, str]] = deque()

    def wrong(self, client: str) -> None:
        """Count one."""
        self._wrong.append((time.monotonic(), client))

    def too_many(self, client: str) -> bool:
        """Say whether a client, or all together, have shown too many."""
        while self._wrong and self._wrong[0][0] < time.monotonic() - WAIT_SECONDS:
            self._wrong.popleft()
        return len(self._wrong) >= _MOST_WRONG or sum(one == client for _, one in self._wrong) >= _MOST_WRONG_OF_ONE


def _pass(token: str) -> str:
    return hmac.new(token.encode(), b"refocal dashboard", hashlib.sha256).hexdigest()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def _client(request: Request) -> str:
    return request.client.host if request.client else ""


async def _posted_token(request: Request) -> str | None:
    try:
        body = await received(request, _LONGEST_LOGIN)
    except BadOptionError:
        return None
    return parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0].strip()


def _ask() -> Response:
    page = files("refocal.ui.dashboard").joinpath("static/login.html").read_text(encoding="utf-8")
    return HTMLResponse(page, 401, {"cache-control": "no-store", "www-authenticate": "Bearer"})


def _later() -> Response:
    wait = {"retry-after": f"{WAIT_SECONDS:.0f}", "cache-control": "no-store"}
    return JSONResponse({"error": f"too many wrong tokens; wait {WAIT_SECONDS:.0f} s"}, 429, wait)


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
