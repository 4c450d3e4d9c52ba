"""Connections of the dashboard: those that ask nothing make room for those that ask."""

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST, MOST_OF_ONE = 256, 64
"""Connections at a time, of all clients and of one address; more close the oldest that has asked nothing."""
ASKING_SECONDS = 10.0
"""How long a client may take until a request's headers are complete."""


class LimitedConnection(H11Protocol):
    """One connection; closed where its request does not come in time, or where it waits and others ask."""

    waiting: ClassVar[dict["LimitedConnection", None]] = {}
    """Connections without a request, the oldest first."""

    def connection_made(self, transport: Any) -> None:
        """Take a connection, and close an idle one where there are too many."""
        super().connection_made(transport)
        self._timer: asyncio.TimerHandle | None = None
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        self._wait()
        everyone = [one for one in self.connections if isinstance(one, LimitedConnection)]
        own = [one for one in everyone if one.address == self.address]
        if len(own) > MOST_OF_ONE:
            self._close_one(own)
        elif len(everyone) > MOST:
            self._close_one(everyone)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        self.settle()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in what a client sends, and wait no longer once that is a request."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self.settle()
        elif not self.transport.is_closing():
            self._wait()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
            self._wait()

    def _wait(self) -> None:
        if self not in self.waiting:
            self.waiting[self] = None
            self._timer = self.loop.call_later(ASKING_SECONDS, self.transport.abort)

    def settle(self) -> None:
        """Stop the clock: a request is there, or the connection is gone."""
        self.waiting.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()

    def _close_one(self, among: list["LimitedConnection"]) -> None:
        """Close the connection that has waited longest; the new one, where all others have asked."""
        oldest = next(one for one in self.waiting if one in among)
        oldest.settle()
        oldest.transport.abort()
