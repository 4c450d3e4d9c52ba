"""Alerts leave the house: as a command that is run, or as a web-hook that is posted to."""

import json
import shlex
import subprocess
import threading
import urllib.request
from collections.abc import Callable
from queue import Full, Queue
from urllib.parse import urlsplit

from refocal.errors import BadOptionError
from refocal.log import Event

_SECONDS = 30.0
_MOST_WAITING = 100


class Caller:
    """Passes events on, one after the other, in a thread of its own; what fails or hangs stops nothing.

    Parameters
    ----------
    target
        `http://...` or `https://...` gets each event as the JSON body of a POST. Anything else is a command, split as
        a shell would but not run by one; it gets the message as its last argument and the event as JSON on its
        standard input.
    complain
        Called with one line when a call fails.

    Raises
    ------
    BadOptionError
        If the target is empty or its quotes do not match.
    """

    def __init__(self, target: str, complain: Callable[[str], None] = lambda line: None) -> None:
        self._target, self._complain = target, complain
        self._is_url = urlsplit(target).scheme in ("http", "https")
        try:
            self._command = shlex.split(target)
        except ValueError as error:
            raise BadOptionError(f"{target!r} is no command: {error}") from error
        if not self._command:
            raise BadOptionError("an empty command; expected a command or the address of a web-hook")
        self._queue: Queue[Event] = Queue(_MOST_WAITING)
        threading.Thread(target=self._run, name="refocal-alert", daemon=True).start()

    def __call__(self, event: Event) -> None:
        """Have an event passed on; the newest are dropped while too many wait."""
        try:
            self._queue.put_nowait(event)
        except Full:
            self._complain(f"{self._target}: too slow, an alert was not passed on")

    def _run(self) -> None:
        while True:
            event = self._queue.get()
            try:
                self._post(event) if self._is_url else self._start(event)
            except (OSError, subprocess.SubprocessError, ValueError) as error:
                self._complain(f"{self._target}: {' '.join(str(error).split())}")

    def _start(self, event: Event) -> None:
        message = str(event.get("message", "")).encode(errors="surrogateescape")
        subprocess.run(  # noqa: S603 - the user's own command, no shell
            [*self._command, message], input=json.dumps(event).encode(), stdout=subprocess.DEVNULL,
            timeout=_SECONDS, check=True,
        )  # fmt: skip

    def _post(self, event: Event) -> None:
        request = urllib.request.Request(  # noqa: S310 - http or https only
            self._target, json.dumps(event).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=_SECONDS):  # noqa: S310
            pass
