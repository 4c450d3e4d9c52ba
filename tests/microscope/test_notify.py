"""Commands and web-hooks: what arrives, and that nothing that goes wrong with them reaches the watch."""

import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from refocal.core.errors import BadOptionError
from refocal.microscope.notify import Command, Messenger, WebHook

ALERT: dict[str, Any] = {
    "event": "alert", "kind": "bad_beam", "subject": "beam 7; touch owned $(touch owned) `touch owned`",
    "section": None, "message": 'softer\n"quoted"\0', "severity": "warning", "value": 0.4, "active": True,
    "time": "2026-01-05T08:00:00",
}  # fmt: skip


class Hook(BaseHTTPRequestHandler):
    answers: ClassVar[list[int]] = []
    seen: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        self.seen.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.answers.pop(0) if self.answers else 204)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[str]:
    """A server on this machine; answers 204 unless told otherwise."""
    Hook.answers, Hook.seen = [], []
    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook?token=secret"
        server.shutdown()


def test_a_command_gets_json_and_variables_and_no_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    script = "import json, os, sys; print(json.dumps([json.load(sys.stdin), dict(os.environ)]), file=open('got', 'w'))"
    Command([sys.executable, "-c", script])(ALERT)
    got, variables = json.loads((tmp_path / "got").read_text())
    assert got == ALERT
    assert variables["REFOCAL_ALERT_KIND"] == "bad_beam"
    assert variables["REFOCAL_ALERT_SUBJECT"] == ALERT["subject"]
    assert variables["REFOCAL_ALERT_MESSAGE"] == 'softer\n"quoted"'
    assert (variables["REFOCAL_ALERT_ACTIVE"], variables["REFOCAL_ALERT_SECTION"]) == ("true", "")
    assert [path.name for path in tmp_path.iterdir()] == ["got"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([sys.executable, "-c", "raise SystemExit('no pager here')"], "code 1: no pager here"),
        ([sys.executable, "-c", "import time; time.sleep(60)"], "did not end within 0.3 s"),
        (["/nonexistent/pager"], "No such file"),
    ],
)
def test_a_command_that_fails_says_so(arguments: list[str], word: str) -> None:
    with pytest.raises(OSError, match=word):
        Command(arguments, seconds=0.3 if "sleep" in arguments[-1] else 30)(ALERT)


@pytest.mark.parametrize(
    ("answers", "posts", "pauses", "word"),
    [
        ([], 1, [], None),
        ([500, 503], 3, [1, 2], None),
        ([500, 500, 500], 3, [1, 2], "answered 500"),
        ([404], 1, [], "answered 404"),
        ([302], 1, [], "answered 302"),
    ],
)
def test_a_hook_is_tried_again_only_where_that_may_help(
    hook: str, answers: list[int], posts: int, pauses: list[float], word: str | None
) -> None:
    slept: list[float] = []
    Hook.answers = answers
    channel = WebHook(hook, sleep=slept.append)
    if word is None:
        channel(ALERT)
    else:
        with pytest.raises(OSError, match=word) as caught:
            channel(ALERT)
        assert "secret" not in str(caught.value)
    assert Hook.seen == [ALERT] * posts
    assert slept == pauses


def test_a_hook_that_nobody_listens_at_fails() -> None:
    with pytest.raises(OSError, match=r"http://127\.0\.0\.1"):
        WebHook("http://127.0.0.1:9/", tries=2, sleep=lambda _: None)(ALERT)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/y", "hooks.example.org", "http://"])
def test_only_web_addresses_are_taken(url: str) -> None:
    with pytest.raises(BadOptionError, match="http or https"):
        WebHook(url)


def test_failures_are_told_and_the_next_alert_still_goes() -> None:
    got: list[Any] = []
    lines: list[str] = []

    def fragile(alert: Any) -> None:
        if alert["value"] == 0:
            raise RuntimeError("no\nline")
        got.append(alert["value"])

    with Messenger([fragile], failed=lines.append) as messenger:
        for value in range(3):
            messenger.send({**ALERT, "value": value})
    assert got == [1, 2]
    assert lines == ["alert bad_beam was not delivered: no line"]


def test_a_channel_that_hangs_costs_nothing_but_old_alerts() -> None:
    free, began, got, lines = threading.Event(), threading.Event(), [], []

    def slow(alert: Any) -> None:
        began.set()
        assert free.wait(20)
        got.append(alert["value"])

    messenger = Messenger([slow], failed=lines.append, capacity=4)
    messenger.send({**ALERT, "value": 0})
    assert began.wait(20)
    for value in range(1, 11):
        messenger.send({**ALERT, "value": value})
    assert got == [], "all were sent while the first is being delivered"
    free.set()
    messenger.close()
    assert got == [0, 7, 8, 9, 10]
    assert lines == ["6 alerts were dropped, because delivering takes too long"]


def test_leaving_does_not_wait_for_a_channel_that_hangs() -> None:
    never = threading.Event()
    messenger = Messenger([lambda _: never.wait(30) and None])
    messenger.send(ALERT)
    start = time.perf_counter()
    messenger.close(seconds=0.2)
    assert time.perf_counter() - start < 5
    never.set()


def test_what_matters_little_is_kept_back() -> None:
    got: list[Any] = []
    with Messenger([lambda alert: got.append(alert["severity"])], least="critical") as messenger:
        for severity in ("info", "warning", "critical"):
            messenger.send({**ALERT, "severity": severity})
    assert got == ["critical"]
    with pytest.raises(BadOptionError, match="least severity"):
        Messenger([], least="loud")
