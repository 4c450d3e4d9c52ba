"""Serve the dashboard: its address, and who may use it."""

import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import uvicorn

from refocal.core.errors import BadOptionError, UsageError
from refocal.ui.dashboard.app import make_app
from refocal.ui.dashboard.connections import MOST, LimitedConnection

_SHORTEST_TOKEN = 16
_LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})
_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104


def serve(
    out: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    token: str | None = None,
    allow_hosts: Sequence[str] = (),
    index: Path | None = None,
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve the dashboard of an output folder until interrupted.

    Parameters
    ----------
    out
        The output folder; it must exist.
    host, port
        Where to listen; port 0 takes a free one.
    token
        Required of every client; must be set where other machines can connect.
    allow_hosts
        Further host names under which the dashboard is reached.
    index
        Where the index is kept, if not in the output folder.
    ready
        Called with the address once the port is taken.

    Raises
    ------
    UsageError
        If the folder is missing, the token is missing or short, or the port is not free.
    """  # fmt: skip
    if not out.is_dir():
        raise UsageError(f"{out} is not a folder; give the output folder of a run or a watch")
    if host not in _LOCAL and token is None:
        raise BadOptionError(
            f"--host {host} lets other machines in: set a --token of at least {_SHORTEST_TOKEN} characters"
        )
    if token is not None and len(token) < _SHORTEST_TOKEN:
        raise BadOptionError(f"the token has {len(token)} characters; expected at least {_SHORTEST_TOKEN}")
    names = [socket.gethostname(), socket.getfqdn()] if host in _EVERYWHERE else [host]
    app = make_app(out, token=token, hosts=[*names, *allow_hosts], addresses=host in _EVERYWHERE, index=index)
    listening = _listen(host, port)
    with listening:
        shown = "localhost" if host in _EVERYWHERE else f"[{host}]" if ":" in host else host
        ready(f"http://{shown}:{listening.getsockname()[1]}/")
        config = uvicorn.Config(
            app, access_log=False, log_level="warning", timeout_graceful_shutdown=1, server_header=False, ws="none",
            limit_concurrency=2 * MOST, proxy_headers=False, http=LimitedConnection,
        )  # fmt: skip
        uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        raise UsageError(f"cannot listen on {host} port {port}: {error}; choose another --port") from error
