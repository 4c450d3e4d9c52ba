"""The dashboard's server: what it answers, and what it refuses."""

import csv
import io
import json
import time

import cv2
import numpy as np
import pytest

from drawn import stripes
from refocal.eventlog.log import Log, read_log
from refocal.parts.formats import open_image

pytest.importorskip("starlette", reason="starlette is not installed; it comes with refocal[dashboard]")
from starlette.testclient import TestClient

from refocal.ui.dashboard import make_app

SECRET = "a-token-of-many-letters"
LOCAL = "http://127.0.0.1:8765"
HOSTILE = "../../outside.png"


@pytest.fixture
def out(tmp_path):
    """A log of a watch with images, and files beside it that nobody may see."""
    raw, out = tmp_path / "raw", tmp_path / "out"
    stripes(raw / "s1" / "soft.png", 100)
    stripes(raw / "s1" / "sharp.png", 50)
    stripes(raw / "s1" / "deep.tif", 3000, dtype=np.uint16)
    stripes(out / "s1" / "soft.png", 180)
    stripes(tmp_path / "outside.png", 10)
    (raw / "s1" / "way_out.png").symlink_to(tmp_path / "outside.png")
    (raw / "s1" / "folder_out").symlink_to(tmp_path)
    (out / "linked.png").symlink_to(raw / "s1" / "sharp.png")
    (tmp_path / "secret.txt").write_text("secret")
    with Log(out / "log.jsonl") as log:
        log.start({"contrast": None}, inputs=[str(raw)])
        tile = {"event": "tile", "section": "s1", "sigma_px": 1.5, "noise": 3.0, "page": 0, "pixel_nm": 4.0}
        for key, decision, output in (
            ("s1/soft.png", "restored", "s1/soft.png"),
            ("s1/sharp.png", "kept", None),
            ("s1/deep.tif", "retake", None),
            ("s1/linked.png", "kept", "linked.png"),
            ("s1/way_out.png", "kept", None),
            ("s1/folder_out/outside.png", "kept", "../secret.txt"),
            (HOSTILE, "retake", HOSTILE),
            (str(tmp_path / "outside.png"), "kept", str(tmp_path / "outside.png")),
            ("nul\0.png", "kept", "nul\0.png"),
            ("=cmd|x!A1.png", "retake", None),
            ("odd \udc80.png", "retake", None),
        ):
            log.append({**tile, "key": key, "path": key, "decision": decision, "output": output, "reason": "because"})
    return out


@pytest.fixture
def client(out):
    with TestClient(make_app(out), base_url=LOCAL) as client:
        settled(client)
        yield client


def settled(client, tiles=11):
    for _ in range(200):
        if sum(client.get("/api/state").json()["counts"]) >= tiles:
            return
        time.sleep(0.02)
    raise AssertionError("the log was not read")


def shot(client, key, view="before", **more):
    query = {"key": key, "view": view, "level": 0, "column": 0, "row": 0, "low": 0, "high": 255, **more}
    return client.get("/api/square", params=query)


def pixels(answer):
    assert answer.status_code == 200, answer.text
    return cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)


def test_pictures_are_the_files_at_every_level(client, out):
    raw = cv2.imread(str(out.parent / "raw/s1/soft.png"), cv2.IMREAD_UNCHANGED)
    about = client.get("/api/image", params={"key": "s1/soft.png"}).json()
    assert set(about["views"]) == {"before", "after"}
    assert (about["views"]["before"]["width"], about["views"]["before"]["height"]) == (600, 700)
    np.testing.assert_array_equal(pixels(shot(client, "s1/soft.png")), raw[:512, :512])
    np.testing.assert_array_equal(pixels(shot(client, "s1/soft.png", column=1, row=1)), raw[512:, 512:])
    half = raw.reshape(350, 2, 300, 2).mean((1, 3))
    np.testing.assert_allclose(pixels(shot(client, "s1/soft.png", level=1)), half, atol=0.51)
    assert pixels(shot(client, "s1/soft.png", "after")).mean() > 180
    assert shot(client, "s1/soft.png", level=9, column=1).status_code == 400
    assert shot(client, "s1/soft.png", level=-1).status_code == 400
    assert shot(client, "s1/soft.png", low=5, high=5).status_code == 400
    assert shot(client, "s1/soft.png", low="nan").status_code == 400


def test_a_file_that_vanishes_is_not_found(client, out, monkeypatch):
    def vanishing(path):
        image = open_image(path)
        path.unlink()
        return image

    monkeypatch.setattr("refocal.ui.dashboard.image_pyramid.open_image", vanishing)
    answer = shot(client, "s1/soft.png")
    assert (answer.status_code, answer.json()) == (404, {"error": "soft.png is not there any more"})
    views = client.get("/api/image", params={"key": "s1/deep.tif"}).json()["views"]
    assert views == {"before": {"trouble": "deep.tif is not there any more"}}


def test_deep_pictures_are_shown_by_contrast_and_kept_tiles_once(client):
    view = client.get("/api/image", params={"key": "s1/deep.tif"}).json()["views"]["before"]
    assert view["dtype"] == "uint16"
    grey = pixels(shot(client, "s1/deep.tif", low=view["low"], high=view["high"]))
    assert grey.dtype == np.uint8
    assert grey.min() == 0
    assert grey.max() == 255
    assert list(client.get("/api/image", params={"key": "s1/sharp.png"}).json()["views"]) == ["before"]


def test_a_linked_output_that_leads_into_the_watched_tree_is_shown(client):
    assert pixels(shot(client, "s1/linked.png")).shape == (512, 512)


OUTSIDE = ["s1/way_out.png", "s1/folder_out/outside.png", HOSTILE, "nul\0.png", "odd \udc80.png"]


@pytest.mark.parametrize("key", OUTSIDE)
@pytest.mark.parametrize("view", ["before", "after"])
def test_no_logged_name_leads_outside(client, key, view):
    key = key.encode("utf-8", "backslashreplace").decode()
    assert client.get("/api/tile", params={"key": key}).status_code == 200
    assert client.get("/api/image", params={"key": key}).json()["views"] == {}
    assert shot(client, key, view).status_code == 404


def test_no_absolute_name_leads_outside(client, out):
    key = str(out.parent / "outside.png")
    assert client.get("/api/image", params={"key": key}).json()["views"] == {}
    assert shot(client, key).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/%252e%252e/app.py",
        "/static/..%2fapp.py",
        "/static/..%5capp.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/%00",
        "/static/style.css%00.png",
        "/static/....//app.py",
        "/static/.%2e/.%2e/.%2e/.%2e/etc/passwd",
        "/static/",
        "/static",
        "/../../etc/passwd",
        "/%2e%2e/secret.txt",
        "/log.jsonl",
        "/api/../secret.txt",
        "/api/square/../../secret.txt",
        "/.refocal/history.sqlite",
    ],
)
def test_no_path_leads_to_a_file(client, path):
    answer = client.get(path)
    assert answer.status_code in (400, 404, 405)
    assert b"import" not in answer.content


@pytest.mark.parametrize("path", ["/api/square", "/api/image", "/api/tile"])
@pytest.mark.parametrize(
    "key",
    [
        "../secret.txt",
        "..%2fsecret.txt",
        "%252e%252e/secret.txt",
        "/etc/passwd",
        "s1/../s1/soft.png",
        "s1//soft.png",
        "s1/soft.png\0",
        "",
        "S1/SOFT.PNG",
        "log.jsonl",
    ],
)
def test_only_keys_of_the_log_are_known(client, path, key):
    query = {"key": key, "level": 0, "column": 0, "row": 0, "low": 0, "high": 1}
    assert client.get(path, params=query).status_code == 404


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "10.0.0.5", "", "localhost.evil", "[::2]:8765"],
)
def test_other_host_names_are_refused(client, host):
    for path in ("/", "/api/state", "/static/main.js"):
        assert client.get(path, headers={"host": host}).status_code == 421
    for fine in ("localhost:1", "127.0.0.1", "[::1]:9", "LOCALHOST"):
        assert client.get("/api/state", headers={"host": fine}).status_code == 200


def override(client, **more):
    said = {"key": "s1/deep.tif", "verdict": "keep", "note": "it is fine", "by": "Ada", **more}
    return client.post("/api/override", json={name: value for name, value in said.items() if value is not None})


def test_an_override_is_logged_and_seen_at_once(client, out):
    assert client.get("/api/state").json()["counts"][3] == 4
    answer = override(client)
    assert answer.status_code == 200
    assert answer.json()["word"] == {**answer.json()["word"], "verdict": "keep", "note": "it is fine", "by": "Ada"}
    event = list(read_log(out / "log.jsonl"))[-1]
    assert (event["event"], event["key"], event["verdict"], event["by"]) == ("override", "s1/deep.tif", "keep", "Ada")
    assert event["time"]
    settled(client)
    assert client.get("/api/list").json()["count"] == 3
    odd = override(client, key="odd \\udc80.png", verdict="restore").json()
    assert odd["shown"] == 2
    assert list(read_log(out / "log.jsonl"))[-1]["key"] == "odd \udc80.png"


def test_a_torn_line_is_not_joined_with_an_override(client, out):
    with (out / "log.jsonl").open("a") as log:
        log.write('{"event": "tile", "key": "half')
    assert override(client).status_code == 200
    assert client.get("/api/tile", params={"key": "s1/deep.tif"}).json()["word"]["by"] == "Ada"


@pytest.mark.parametrize(
    "wrong",
    [
        {"by": ""},
        {"by": "  "},
        {"by": None},
        {"verdict": "delete"},
        {"verdict": None},
        {"by": "x" * 81},
        {"note": "x" * 2001},
        {"note": 3},
        {"key": []},
    ],
)
def test_wrong_overrides_are_refused(client, out, wrong):
    before = (out / "log.jsonl").read_bytes()
    answer = override(client, **wrong)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert override(client, key="nobody.png").status_code == 404
    assert client.post("/api/override", content=b"{", headers={"content-type": "application/json"}).status_code == 400
    assert (
        client.post("/api/override", content=b"[" * 70000, headers={"content-type": "application/json"}).status_code
        == 400
    )
    assert (out / "log.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://evil.example:8765"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_other_sites_cannot_post(client, out, headers):
    before = (out / "log.jsonl").read_bytes()
    said = {"key": "s1/deep.tif", "verdict": "keep", "note": "", "by": "Mallory"}
    assert client.post("/api/override", json=said, headers=headers).status_code == 403
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = client.post("/api/override", content=json.dumps(said), headers={"content-type": kind})
        assert answer.status_code == 415
    assert client.put("/api/override", json=said).status_code == 405
    assert client.get("/api/override").status_code == 405
    assert (out / "log.jsonl").read_bytes() == before
    assert client.post("/api/override", json=said, headers={"origin": LOCAL}).status_code == 200


def test_every_answer_carries_the_safety_headers(client):
    for path in ("/", "/static/main.js", "/api/state", "/nothing", "/api/square"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
    assert "content-security-policy" in client.get("/", headers={"host": "evil"}).headers


def test_the_token_is_demanded_and_becomes_a_cookie(out):
    with TestClient(make_app(out, token=SECRET), base_url=LOCAL, follow_redirects=False) as client:
        for path in (
            "/",
            "/api/state",
            "/api/events",
            "/api/square?key=s1/soft.png",
            "/static/main.js",
            "/api/list.csv",
        ):
            assert client.get(path).status_code == 401
        assert override(client).status_code == 401
        assert client.get("/", params={"token": "wrong"}).status_code == 401
        assert client.post("/login", data={"token": "wrong"}).status_code == 401
        assert (
            client.post("/login", data={"token": SECRET}, headers={"origin": "http://evil.example"}).status_code == 403
        )
        assert client.get("/api/state", headers={"cookie": "refocal_8765=" + SECRET}).status_code == 401
        assert client.get("/api/state", headers={"authorization": f"Bearer {SECRET}"}).status_code == 200
        entered = client.post("/login", data={"token": SECRET})
        assert entered.status_code == 303
        cookie = entered.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        assert SECRET not in cookie
        assert client.get("/api/state").status_code == 200
        client.cookies.clear()
        assert client.get("/", params={"token": SECRET}).headers["location"] == "/"
        assert client.get("/api/state").status_code == 200


def test_the_list_sorts_filters_and_is_a_harmless_csv(client):
    rows = client.get("/api/list", params={"decisions": "retake", "sort": "key", "down": "0"}).json()["rows"]
    assert [row["key"] for row in rows] == sorted(row["key"] for row in rows)
    assert client.get("/api/list", params={"find": "DEEP"}).json()["count"] == 1
    assert client.get("/api/list", params={"sort": "1; DROP TABLE tiles", "find": "' OR 1"}).json()["count"] == 0
    table = list(csv.DictReader(io.StringIO(client.get("/api/list.csv").text)))
    assert len(table) == 4
    assert "'=cmd|x!A1.png" in [row["key"] for row in table]


def test_foreign_questions_are_answered_with_an_error(client):
    for path in (
        "/api/tiles",
        "/api/tiles?section=x",
        "/api/tiles?section=1&since=1e3",
        "/api/beams?sections=a",
        "/api/timeline?start=nan",
        "/api/timeline?start=1e400",
        "/api/sections?since=" + "9" * 50,
        "/api/key?id=1",
    ):
        answer = client.get(path)
        assert answer.status_code in (400, 404), path
        assert answer.json()["error"]
    assert client.get("/api/list?section=99999999999999999999&start=-5&limit=x").status_code in (200, 400)


def test_a_log_that_comes_later_and_is_replaced_is_followed(tmp_path):
    with TestClient(make_app(tmp_path), base_url=LOCAL) as client:
        assert client.get("/api/state").json()["counts"] == [0] * 7
        for tiles in (5, 2):
            (tmp_path / "log.jsonl").unlink(missing_ok=True)
            with Log(tmp_path / "log.jsonl") as log:
                for i in range(tiles):
                    log.append({"event": "tile", "key": f"t{tiles}{i}", "decision": "kept"})
            for _ in range(300):
                if (state := client.get("/api/state").json())["counts"][1] == tiles:
                    break
                time.sleep(0.02)
            assert state["counts"][1] == tiles


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "0.0.0.0"], "set a --token"),
        (["--host", "192.168.1.5", "--token", "short"], "expected at least 16"),
        (["--token", "short"], "expected at least 16"),
        (["--host", "192.0.2.1", "--token", SECRET], "cannot listen"),
        (["--token-file", "nowhere"], "cannot read the token file"),
    ],
)
def test_the_command_refuses(inside, tmp_path, options, words):
    said = inside("dashboard", tmp_path, *options, code=2)
    assert words in said.line
    assert SECRET not in said.line


def test_the_command_refuses_a_folder_that_is_not_there(inside, tmp_path):
    assert "is not a folder" in inside("dashboard", tmp_path / "nowhere", code=2).line
