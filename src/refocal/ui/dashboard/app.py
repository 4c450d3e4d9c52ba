"""What the browser can ask. Tiles are asked for by their key, which must be in the index; there are no paths here."""

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from refocal.core.documents import DocumentError, read_json
from refocal.core.errors import BadOptionError, RefocalError, TileError, UnreadableError
from refocal.core.values import Contrast
from refocal.core.version import __version__
from refocal.eventlog.index import Readings
from refocal.eventlog.index.queries import tile_columns
from refocal.eventlog.index.schema import DECISIONS
from refocal.eventlog.log import LOG
from refocal.ui.dashboard import overrides
from refocal.ui.dashboard.auth import Guard
from refocal.ui.dashboard.image_pyramid import EDGE, Gallery
from refocal.ui.dashboard.index_feed import Feed
from refocal.ui.dashboard.request_body import received
from refocal.ui.dashboard.tile_files import TileFiles
from refocal.ui.dashboard.tile_table import Filter, csv_lines

_STATIC = Path(str(files("refocal.ui.dashboard").joinpath("static")))
_LONGEST_BODY = 1 << 16
_POLL_SECONDS = 0.25
_SILENT_SECONDS = 15
_LISTENERS, _LISTENERS_OF_ONE = 64, 32
_N = TypeVar("_N", int, float)


class _UnknownError(RefocalError):
    """No such tile or picture."""


def make_app(
    out: Path,
    *,
    token: str | None = None,
    hosts: Iterable[str] = (),
    addresses: bool = False,
    index: Path | None = None,
) -> ASGIApp:
    """Return the dashboard of an output folder as an ASGI application.

    Parameters
    ----------
    out
        The output folder of a run or a watch; its log may come later.
    token, hosts, addresses
        Who may ask: see `Guard`.
    index
        Where the index of the log is kept, if not in the output folder.

    Raises
    ------
    UsageError
        If the index cannot be kept there.
    """  # fmt: skip
    board = _Board(Path(out), index)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with board.feed:
            yield

    async def refused(request: Request, error: Exception) -> Response:
        status = 404 if isinstance(error, _UnknownError) else 422 if isinstance(error, TileError) else 400
        return _json({"error": str(error)}, status)

    app = Starlette(
        routes=board.routes(), lifespan=lifespan, exception_handlers={RefocalError: refused}
    )  # fmt: skip
    # Events are flushed as they come, and pictures are compressed already; the rest is text.
    packed = GZipMiddleware(app, minimum_size=2000, compresslevel=3)
    return Guard(packed, token=token, hosts=hosts, addresses=addresses)


class _Board:
    """The answers for one output folder."""

    def __init__(self, out: Path, index: Path | None) -> None:
        self.out = out
        self.log = out / LOG
        self.feed = Feed(self.log, index)
        self._gallery = Gallery()
        self._listeners: Counter[str] = Counter()

    def routes(self) -> list[Route | Mount]:
        read = {
            "state": self._state, "sections": self._sections, "tiles": self._tiles, "tile": self._tile,
            "list": self._list, "find": self._find, "beams": self._beams, "timeline": self._timeline,
            "alerts": self._alerts, "key": self._key, "image": self._image,
        }  # fmt: skip
        return [
            Route("/", _page),
            *(Route(f"/api/{name}", _answer(self.feed, answer)) for name, answer in read.items()),
            Route("/api/list.csv", self._csv),
            Route("/api/square", self._square),
            Route("/api/events", self._events),
            Route("/api/override", self._override, methods=["POST"]),
            Mount("/static", StaticFiles(directory=_STATIC)),
        ]

    def _state(self, read: Readings, request: Request) -> object:
        fixed = {"out": self.out.resolve().name, "version": __version__, "decisions": DECISIONS}
        return {**fixed, "columns": tile_columns(), **self.feed.news}

    def _sections(self, read: Readings, request: Request) -> object:
        return read.sections(_integer(request, "since", -1))

    def _tiles(self, read: Readings, request: Request) -> object:
        rows, after = read.tiles(_integer(request, "section"), _integer(request, "since", -1))
        return {"rows": rows, "next": after, "generation": self.feed.news["generation"]}

    def _tile(self, read: Readings, request: Request) -> object:
        return _known(read, request.query_params.get("key", ""))

    def _key(self, read: Readings, request: Request) -> object:
        same = request.query_params.get("generation") == self.feed.news["generation"]
        key = read.key(_integer(request, "id")) if same else None
        if key is None:
            raise _UnknownError("the index was rebuilt; reload the page")
        return {"key": key}

    def _list(self, read: Readings, request: Request) -> object:
        count, rows = Filter.parse(request.query_params).read(
            read, max(0, _integer(request, "start", 0)), min(500, max(1, _integer(request, "limit", 100)))
        )
        return {"count": count, "rows": rows}

    def _find(self, read: Readings, request: Request) -> object:
        text = request.query_params.get("text", "").strip()
        return read.found(text) if text else []

    def _beams(self, read: Readings, request: Request) -> object:
        named = [part for part in request.query_params.get("sections", "").split(",") if part]
        return read.beams([_number(part, int) for part in named[:500]])

    def _timeline(self, read: Readings, request: Request) -> object:
        ends = [request.query_params.get(name) for name in ("start", "end")]
        start, end = (None if text is None else _number(text, float) for text in ends)
        return read.timeline(start, end)

    def _alerts(self, read: Readings, request: Request) -> object:
        return read.alerts()

    def _files(self, read: Readings, key: str) -> tuple[int, dict[str, Path]]:
        """Return the page of a tile, and its files: `before`, and `after` if it was restored."""
        tile = _known(read, key)
        found, event = TileFiles(self.out, read.jobs()), tile["event"]
        before, written = found.recorded(event), found.written(event)
        restored = event.get("decision") == "restored"
        if not restored:
            before, written = before or written, None
        return tile["page"], {name: p for name, p in (("before", before), ("after", written)) if p is not None}

    def _image(self, read: Readings, request: Request) -> object:
        page, paths = self._files(read, request.query_params.get("key", ""))
        views = {}
        for name, path in paths.items():
            try:
                views[name] = asdict(self._gallery.about(path, page))
            except (RefocalError, OSError) as error:
                views[name] = {"trouble": str(_trouble(path, error))}
        return {"edge": EDGE, "views": views}

    async def _square(self, request: Request) -> Response:
        def draw() -> bytes:
            with self.feed.readings() as read:
                page, paths = self._files(read, request.query_params.get("key", ""))
            path = paths.get(request.query_params.get("view", "before"))
            if path is None:
                raise _UnknownError("there is no such picture")
            low, high = _decimal(request, "low"), _decimal(request, "high")
            level, column, row = (_integer(request, name) for name in ("level", "column", "row"))
            if not low < high or not 0 <= level < 24:
                raise BadOptionError("expected low below high, and a level of 0 to 23")
            try:
                return self._gallery.square(path, page, level, column, row, Contrast(low, high))
            except (TileError, OSError) as error:
                raise _trouble(path, error) from None

        return Response(
            await run_in_threadpool(draw), media_type="image/png", headers={"cache-control": "private, max-age=60"}
        )

    async def _csv(self, request: Request) -> Response:
        chosen = Filter.parse(request.query_params)

        def lines() -> Iterator[str]:
            with self.feed.readings() as read:
                yield from csv_lines(read, chosen)

        name = {"content-disposition": 'attachment; filename="tiles.csv"', "cache-control": "no-store"}
        return StreamingResponse(lines(), media_type="text/csv; charset=utf-8", headers=name)

    async def _override(self, request: Request) -> Response:
        said = overrides.checked(await _body(request))

        def act() -> object:
            with self.feed.readings() as read:
                tile = _known(read, said["key"])
            overrides.append(self.log, tile, said)
            with self.feed.readings() as read:
                self.feed.wait_for(lambda: _known(read, said["key"])["rev"] > tile["rev"])
                return _known(read, said["key"])

        return _json(await run_in_threadpool(act))

    async def _events(self, request: Request) -> Response:
        client = request.client.host if request.client else ""
        if self._listeners.total() >= _LISTENERS or self._listeners[client] >= _LISTENERS_OF_ONE:
            return _json({"error": f"{self._listeners.total()} pages listen already; close some"}, 503)
        return _Events(self._listen(), self._listeners, client)

    async def _listen(self) -> AsyncIterator[str]:
        sent, silent = None, 0.0
        while True:
            news = self.feed.news
            if news is not sent:
                sent, silent = news, 0.0
                yield f"data: {json.dumps(news)}\n\n"
            elif silent >= _SILENT_SECONDS:
                silent = 0.0
                yield ": still here\n\n"
            await asyncio.sleep(_POLL_SECONDS)
            silent += _POLL_SECONDS


class _Events(StreamingResponse):
    """A stream of events; it counts from the request on, until it ends in whatever way."""

    def __init__(self, events: AsyncIterator[str], listeners: Counter[str], client: str) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"cache-control": "no-store"})
        self._listeners, self._client = listeners, client
        listeners[client] += 1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._listeners[self._client] -= 1
            if not self._listeners[self._client]:
                del self._listeners[self._client]


def _answer(feed: Feed, answer: Callable[[Readings, Request], object]) -> Callable[[Request], Awaitable[Response]]:
    def read(request: Request) -> object:
        with feed.readings() as readings:
            return answer(readings, request)

    async def endpoint(request: Request) -> Response:
        return _json(await run_in_threadpool(read, request))

    return endpoint


async def _page(request: Request) -> Response:
    return FileResponse(_STATIC / "index.html", headers={"cache-control": "no-cache"})


async def _body(request: Request) -> object:
    try:
        return read_json(await received(request, _LONGEST_BODY))
    except DocumentError as error:
        raise BadOptionError(f"the request is not JSON: {error}") from error


def _trouble(path: Path, error: RefocalError | OSError) -> RefocalError:
    """Return what a page may know of an error: the name of the file, and not where it lies."""
    if not os.path.exists(path):
        return _UnknownError(f"{path.name} is not there any more")
    if isinstance(error, OSError):
        return UnreadableError(f"{path.name}: {error.strerror}")
    return type(error)(str(error).replace(str(path), path.name))


def _known(read: Readings, key: str) -> dict[str, Any]:
    tile = read.tile(key)
    if tile is None:
        raise _UnknownError("the log has no such tile")
    return tile


def _integer(request: Request, name: str, default: int | None = None) -> int:
    text = request.query_params.get(name)
    if text is None and default is not None:
        return default
    return _number(text or "", int)


def _decimal(request: Request, name: str) -> float:
    return _number(request.query_params.get(name, ""), float)


def _number(text: str, kind: Callable[[str], _N]) -> _N:
    try:
        value = kind(text[:40])
        if not abs(value) < 2**62:
            raise ValueError("too large")
    except ValueError as error:
        raise BadOptionError(f"expected a number, got {text[:40]!r}") from error
    return value


def _json(content: object, status: int = 200) -> Response:
    """Return JSON as browsers read it: pure ASCII, for names that are no text, and null for numbers that are none."""
    try:
        text = json.dumps(content, allow_nan=False)
    except ValueError:
        text = json.dumps(json.loads(json.dumps(content), parse_constant=lambda _: None))
    return Response(text, status, {"cache-control": "no-store"}, "application/json")
