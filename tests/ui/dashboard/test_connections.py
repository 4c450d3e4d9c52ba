"""Clients that ask nothing, ask slowly, listen for ever or guess tokens, on real sockets: others are still served."""

import http.client
import json
import socket
import threading
import time

import pytest
import uvicorn

from refocal.eventlog.log import Log
from refocal.ui.dashboard import app, auth, connections, request_body, server

SECRET = "a-token-of-many-letters"


@pytest.fixture
def serving(tmp_path, monkeypatch):
    """Start the server of the command on a free port; returns the port."""
    with Log(tmp_path / "log.jsonl") as log:
        log.start({})
        log.append({"event": "tile", "key": "a.png", "path": "a.png", "decision": "retake", "reason": "because"})
    started: list[uvicorn.Server] = []

    class Server(uvicorn.Server):
        def __init__(self, config):
            super().__init__(config)
            started.append(self)

    monkeypatch.setattr(server.uvicorn, "Server", Server)
    threads = []

    def start(**options):
        ready, ports = threading.Event(), []

        def told(url):
            ports.append(int(url.rstrip("/").rpartition(":")[2]))
            ready.set()

        threads.append(
            threading.Thread(target=server.serve, args=(tmp_path,), kwargs={"port": 0, "ready": told, **options})
        )
        threads[-1].start()
        assert ready.wait(10)
        return ports[0]

    yield start
    for one in started:
        one.should_exit = True
    for thread in threads:
        thread.join(10)


def ask(port, path="/api/state", method="GET", body=None, timeout=5, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def silent(port, count, first=b""):
    sockets = [socket.create_connection(("127.0.0.1", port), timeout=15) for _ in range(count)]
    for one in sockets:
        one.sendall(first)
    return sockets


def closed(one, seconds):
    one.settimeout(seconds)
    try:
        while one.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


@pytest.mark.parametrize("first", [b"", b"GET /api/state HTTP/1.1\r\nHost: local"])
def test_connections_that_ask_nothing_starve_nobody(serving, first):
    port = serving()
    sockets = silent(port, 300, first)
    began = time.monotonic()
    assert ask(port)[0] == 200
    assert time.monotonic() - began < 2
    assert closed(sockets[0], 2)  # the oldest made room
    for one in sockets:
        one.close()


def test_a_request_must_come_in_time(serving, monkeypatch):
    monkeypatch.setattr(connections, "ASKING_SECONDS", 0.3)
    port = serving()
    nothing, half = silent(port, 1)[0], silent(port, 1, b"GET / HTTP/1.1\r\nHo")[0]
    for _ in range(3):
        time.sleep(0.05)
        half.sendall(b"s")
    assert closed(nothing, 2)
    assert closed(half, 2)
    again = silent(port, 1, b"GET /api/state HTTP/1.1\r\nHost: localhost\r\n\r\n")[0]
    time.sleep(0.2)
    assert again.recv(65536).startswith(b"HTTP/1.1 200")
    again.sendall(b"GET /api/st")  # the next one on the same connection
    assert closed(again, 2)


@pytest.mark.parametrize(
    ("path", "kind"), [("/api/override", "application/json"), ("/login", "application/x-www-form-urlencoded")]
)
def test_a_body_must_come_in_time_and_be_short(serving, monkeypatch, path, kind):
    monkeypatch.setattr(request_body, "BODY_SECONDS", 0.3)
    port = serving(token=SECRET)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SECRET}\r\nContent-Type: {kind}\r\n"
    slow = silent(port, 1, f"{head}Content-Length: 1000\r\n\r\nx".encode())[0]
    slow.settimeout(3)
    assert slow.recv(65536).startswith(b"HTTP/1.1 400")
    status, _ = ask(port, path, "POST", b"x" * 10**6, Content_Type=kind, Authorization=f"Bearer {SECRET}")
    assert status == 400


def test_listeners_are_counted_from_the_request_on(serving, monkeypatch):
    monkeypatch.setattr(app, "_LISTENERS_OF_ONE", 5)
    port = serving()
    sockets = silent(port, 20, b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    first = [one.recv(12) for one in sockets]
    assert first.count(b"HTTP/1.1 200") == 5
    assert first.count(b"HTTP/1.1 503") == 15
    for one in sockets:
        one.close()
    for _ in range(100):  # those that left are counted no more
        one = silent(port, 1, b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")[0]
        status = one.recv(12)
        one.close()
        if status == b"HTTP/1.1 200":
            break
        time.sleep(0.05)
    assert status == b"HTTP/1.1 200"


@pytest.mark.parametrize("how", ["login", "query", "bearer"])
def test_wrong_tokens_are_counted_and_then_none_is_looked_at(serving, monkeypatch, how):
    monkeypatch.setattr(auth, "_LATE_SECONDS", 0.0)
    port = serving(token=SECRET)
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    cookie = http.client.HTTPConnection("127.0.0.1", port)
    cookie.request("POST", "/login", f"token={SECRET}", {"Content-Type": form["Content_Type"]})
    entered = cookie.getresponse().getheader("set-cookie").partition(";")[0]
    cookie.close()

    def attempt(token):
        if how == "login":
            return ask(port, "/login", "POST", f"token={token}", **form)[0]
        if how == "query":
            return ask(port, f"/?token={token}")[0]
        return ask(port, Authorization=f"Bearer {token}")[0]

    assert [attempt(f"guess{n}") for n in range(12)] == [401] * 10 + [429] * 2
    assert attempt(SECRET) == 429
    assert ask(port, Cookie=entered)[0] == 200
    monkeypatch.setattr(auth, "WAIT_SECONDS", 0.0)
    assert attempt(SECRET) in (200, 303)


@pytest.mark.parametrize("key", ["\ud800", "a.png\udc80", "nothing"])
def test_keys_that_are_no_text_are_refused(serving, key):
    port = serving()
    said = json.dumps({"key": key, "verdict": "keep", "by": "me", "note": ""})
    status, answer = ask(port, "/api/override", "POST", said, Content_Type="application/json")
    assert status in (400, 404)
    assert "error" in json.loads(answer)


@pytest.mark.parametrize(
    "said",
    [
        '{"key": "a.png", "key": "b.png", "verdict": "keep", "by": "me"}',
        "[" * 30_000,
        '{"key": NaN}',
        '{"by": "\\ud800"}',
    ],
)
def test_other_requests_are_refused(serving, said):
    status, answer = ask(serving(), "/api/override", "POST", said, Content_Type="application/json")
    assert status == 400
    assert "error" in json.loads(answer)
