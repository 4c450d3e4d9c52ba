"""Alerts are delivered to a command of the user or a web-hook. Neither can slow the watch down or stop it.

A thread of its own works through a bounded queue; when it is full the oldest alert is dropped, and the number
of drops is reported. No value of an alert is ever part of a command line or seen by a shell.
"""

import json
import os
import shlex
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Self

from refocal.core.errors import BadOptionError
from refocal.eventlog.log import Event

_FIELDS = ("kind", "subject", "section", "severity", "message", "value", "active", "time")
_LEVELS = ("info", "warning", "critical")


class Channel(Protocol):
    """One way of delivery; raises where it fails."""

    def __call__(self, alert: Event, /) -> None:
        """Deliver one alert."""
        ...


class Command:
    """Runs a program for each alert: JSON on its standard input, fields as `REFOCAL_ALERT_...` in its environment.

    Parameters
    ----------
    arguments
        Program and arguments, as they are; nothing is expanded or interpreted by a shell.
    seconds
        The program is killed after this.
    """

    def __init__(self, arguments: Sequence[str], *, seconds: float = 30.0) -> None:
        if not arguments or not arguments[0]:
            raise BadOptionError("an alert command needs a program, e.g. /usr/local/bin/page_me")
        self._arguments = list(arguments)
        self._seconds = seconds

    def __call__(self, alert: Event, /) -> None:
        """Run the program.

        Raises
        ------
        OSError
            If it cannot be started, ends with another code than 0, or takes too long.
        """
        given = {f"REFOCAL_ALERT_{name.upper()}": _text(alert.get(name)) for name in _FIELDS}
        try:
            done = subprocess.run(  # noqa: S603 - the user's own command, never a value of an alert
                self._arguments,
                input=_json(alert),
                env={**os.environ, **given},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=self._seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise OSError(f"{self._arguments[0]} did not end within {self._seconds:g} s") from error
        if done.returncode:
            words = " ".join(done.stderr.decode(errors="replace").split())[-200:]
            raise OSError(f"{self._arguments[0]} ended with code {done.returncode}" + (f": {words}" if words else ""))


class WebHook:
    """Posts each alert as JSON.

    Parameters
    ----------
    url
        http or https. Redirects are not followed: an alert goes where it was told to go.
    seconds
        Time-out of one try.
    tries
        Tries altogether, with pauses of 1, 2, 4 ... seconds between them. Answers 400 to 499 are final.
    """

    def __init__(
        self, url: str, *, seconds: float = 10.0, tries: int = 3, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadOptionError(f"a web-hook is an http or https address, got {url!r}")
        self._url = url
        self._where = f"{parts.scheme}://{parts.hostname}"  # paths and queries of hooks are secrets
        self._seconds = seconds
        self._tries = max(1, tries)
        self._sleep = sleep
        self._opener = urllib.request.build_opener(_NoRedirect)

    def __call__(self, alert: Event, /) -> None:
        """Post the alert.

        Raises
        ------
        OSError
            If no try succeeded.
        """
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            self._url, _json(alert), {"Content-Type": "application/json", "User-Agent": "refocal"}
        )
        for attempt in range(self._tries):
            try:
                with self._opener.open(request, timeout=self._seconds):
                    return
            except urllib.error.HTTPError as error:
                error.close()
                failure = f"{self._where} answered {error.code}"
                if 300 <= error.code < 500:
                    break
            except OSError as error:
                failure = f"{self._where}: {getattr(error, 'reason', None) or error}"
            if attempt + 1 < self._tries:
                self._sleep(2.0**attempt)
        raise OSError(failure)


def channel(target: str) -> Channel:
    """Return a web-hook for an `http://` or `https://` address, else a command, split as a shell would split it.

    Raises
    ------
    BadOptionError
        If the target is empty, its quotes do not match, or the address has no host.
    """
    if urllib.parse.urlsplit(target).scheme in ("http", "https"):
        return WebHook(target)
    try:
        return Command(shlex.split(target))
    except ValueError as error:
        raise BadOptionError(f"{target!r} is no command: {error}") from error


class Messenger:
    """Delivers alerts in a thread of its own; a context manager.

    Parameters
    ----------
    channels
        Where alerts go; none makes it do nothing.
    failed
        Called, in that thread, with one line for each alert that could not be delivered; for the log.
    least
        Alerts below this severity are not delivered.
    capacity
        Number of alerts that can wait.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        *,
        failed: Callable[[str], None] = lambda line: None,
        least: str = "warning",
        capacity: int = 256,
    ) -> None:
        if least not in _LEVELS:
            raise BadOptionError(f"the least severity is {', '.join(_LEVELS)}; got {least!r}")
        self._channels = list(channels)
        self._failed = failed
        self._least = _LEVELS.index(least)
        self._waiting: deque[Event] = deque(maxlen=capacity)
        self._dropped = 0
        self._busy = False
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="refocal-alerts", daemon=True)
        self._thread.start()

    def send(self, alert: Event) -> None:
        """Queue one alert; returns at once and never fails."""
        severity = alert.get("severity")
        if not self._channels or (severity in _LEVELS and _LEVELS.index(severity) < self._least):
            return
        with self._changed:
            self._dropped += len(self._waiting) == self._waiting.maxlen
            self._waiting.append(dict(alert))
            self._changed.notify_all()

    def close(self, seconds: float = 5.0) -> None:
        """Wait up to this long for what is queued, then stop."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and not self._busy, timeout=seconds)
            self._closed = True
            self._changed.notify_all()
        self._thread.join(0.1 if self._busy else seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                alert, self._busy = self._waiting.popleft(), True
                dropped, self._dropped = self._dropped, 0
            if dropped:
                self._report(f"{dropped} alerts were dropped, because delivering takes too long")
            for channel in self._channels:
                try:
                    channel(alert)
                except Exception as error:
                    self._report(f"alert {alert.get('kind')} was not delivered: {' '.join(str(error).split())}")

    def _report(self, line: str) -> None:
        try:
            self._failed(line)
        except Exception:  # noqa: S110 - a log that cannot be written is noticed by those who write it
            pass


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _json(alert: Mapping[str, Any]) -> bytes:
    return json.dumps(dict(alert), default=str).encode() + b"\n"


def _text(value: Any) -> str:
    """Return a value for the environment, which holds no zero bytes."""
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text.replace("\0", "").encode("utf-8", "replace").decode()
