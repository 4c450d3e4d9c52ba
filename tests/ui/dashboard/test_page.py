"""The dashboard in a real browser, fed by a log that grows while the page is open."""

import json
import re
import sys
import threading
import time
from pathlib import Path
from urllib.parse import quote

import pytest

pytest.importorskip("uvicorn", reason="uvicorn is not installed; it comes with refocal[dashboard]")
sys.path.insert(0, str(Path(__file__).parent))
import acquiring
import uvicorn

from refocal.eventlog.log import read_log
from refocal.ui.dashboard import make_app

HOSTILE = "<img src=x onerror=window.hit=1>"

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A dashboard over two sections of 2 mFoVs each, and its address."""
    folder = tmp_path_factory.mktemp("live")
    out, raw = folder / "out", folder / "raw"
    acquiring.write(out, acquiring.events(sections=2, fields=2), raw, pictures=2)
    hostile = {"event": "tile", "key": f"x/{HOSTILE}.png", "decision": "failed", "section": HOSTILE, "error": HOSTILE}
    acquiring.write(out, [acquiring.at(-500, hostile)])
    server = uvicorn.Server(uvicorn.Config(make_app(out), port=0, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield out, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def page(browser, served):
    """The open page; at the end nothing may have been complained about, and nothing asked for elsewhere."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(served[1])
    page.wait_for_selector("#sections li")
    yield page
    assert complaints == []
    assert [url for url in requests if not url.startswith((served[1], "data:", "blob:"))] == []
    context.close()


def restored(out):
    events = (event for event in read_log(out / "log.jsonl") if event.get("decision") == "restored")
    return next(event for event in events if (out / event["path"]).exists())


def open_tile(page, key):
    page.evaluate("key => { location.hash = `#/tile/${encodeURIComponent(key)}` }", key)
    page.wait_for_selector("#tileview .numbers dd")


def painted(page, selector, colours):
    """Wait until a canvas shows more than so many colours."""
    page.wait_for_function(
        """([selector, colours]) => { const c = document.querySelector(selector);
           const x = new OffscreenCanvas(c.width, c.height).getContext('2d', { willReadFrequently: true });
           x.drawImage(c, 0, 0);
           const d = new Uint32Array(x.getImageData(0, 0, c.width, c.height).data.buffer);
           return new Set(d).size > colours }""",
        arg=[selector, colours],
    )


def test_the_page_grows_with_the_log(page, served):
    out, _ = served
    page.wait_for_function("document.querySelectorAll('#sections li').length >= 3")
    before = page.locator("#figures div").first.inner_text()
    new = [e for e in acquiring.events(sections=3, fields=1, seed=5) if "S003R1" in json.dumps(e)]
    acquiring.write(out, new)
    page.locator("#sections li", has_text="S003R1").wait_for()
    assert page.locator("#figures div").first.inner_text() != before
    assert page.locator("#sections li[aria-selected=true] b").inner_text() == "S003R1"  # follows the newest section


def test_the_map_is_painted_and_answers_the_pointer_and_the_keys(page):
    page.wait_for_function("document.querySelector('#nomap').hidden")
    painted(page, "#map", 8)
    box = page.locator("#map").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.locator("#map").focus()
    page.keyboard.press("ArrowRight")
    first = page.locator("#facts b").first.inner_text()
    assert re.match(r"m\d+_b\d+", first)
    page.keyboard.press("ArrowDown")
    assert page.locator("#facts b").first.inner_text() != first
    page.mouse.wheel(0, -400)
    page.get_by_text("Decision", exact=True).click()
    page.locator("#legend", has_text="no content").wait_for()
    page.keyboard.press("Escape")
    page.locator("#map").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#tileview:not([hidden]) .numbers")


def test_several_sections_lie_side_by_side(page):
    page.locator("#sections li", has_text="S001R1").click()
    page.locator("#sections li", has_text="S002R1").click(modifiers=["Control"])
    assert page.locator("#sections li[aria-selected=true]").count() == 2


def test_the_tile_is_shown_before_and_after_at_full_resolution(page, served):
    open_tile(page, restored(served[0])["key"])
    painted(page, "#tileview canvas", 50)
    slider = page.locator(".split input")
    slider.focus()
    page.keyboard.press("End")
    assert slider.input_value() == "1000"
    page.keyboard.press("1")
    page.locator("#tileview header", has_text="100 %").wait_for()
    page.keyboard.press("Escape")
    page.wait_for_selector("#mapview canvas")


def test_an_override_is_asked_for_logged_and_shown(page, served):
    out, _ = served
    key = next(e["key"] for e in read_log(out / "log.jsonl") if e.get("decision") == "retake")
    open_tile(page, key)
    page.keyboard.press("k")
    page.locator("#word input").fill("Ada")
    page.locator("#word textarea").fill("edge of the section <b>")
    page.locator("#word button.main").click()
    page.locator(".said").wait_for()
    assert "edge of the section <b>" in page.locator(".said").inner_text()
    assert "kept" in page.locator(".info").inner_text()
    event = [e for e in read_log(out / "log.jsonl") if e["event"] == "override"][-1]
    assert (event["key"], event["verdict"], event["by"]) == (key, "keep", "Ada")


def test_the_list_sorts_and_leads_to_tiles(page):
    page.keyboard.press("l")
    page.locator("#listview tbody tr").first.wait_for()
    page.get_by_role("button", name="blur, px").click()
    page.wait_for_selector("th[aria-sort=descending] >> text=blur")
    values = [float(t) for t in page.locator("#listview td:nth-child(4)").all_inner_texts() if t != "–"]
    assert values == sorted(values, reverse=True)
    assert page.locator("#listview a[download]").get_attribute("href").startswith("/api/list.csv?")
    page.locator("#listview tbody a").first.click()
    page.wait_for_selector("#tileview:not([hidden])")


def test_hostile_names_are_only_text(page, served):
    page.locator("#sections li", has_text="onerror").click()
    page.keyboard.press("/")
    page.keyboard.type("onerror")
    page.keyboard.press("Enter")
    page.wait_for_selector("#tileview:not([hidden])")
    page.locator("#tileview h2", has_text="onerror").wait_for()
    assert page.evaluate("window.hit") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes_have_enough_contrast_and_can_be_switched(browser, served, scheme):
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(served[1])
    page.wait_for_selector("#sections li")

    def luminance(selector, name):
        rgb = re.findall(r"\d+", page.evaluate(f"getComputedStyle(document.querySelector('{selector}')).{name}"))
        return sum(w * (int(c) / 255) ** 2.2 for w, c in zip((0.2126, 0.7152, 0.0722), rgb, strict=False))

    grounds = []
    for _ in range(2):
        ground = luminance(".panel", "backgroundColor")
        grounds.append(ground)
        for text in ("body", ".quiet", "h2", ".tabs span"):
            light = luminance(text, "color")
            assert (max(light, ground) + 0.05) / (min(light, ground) + 0.05) > 4.5
        page.keyboard.press("d")
    assert (grounds[0] > 0.5) != (grounds[1] > 0.5)
    context.close()


def test_a_tablet_needs_no_sideways_scrolling_and_takes_fingers(browser, served):
    context = browser.new_context(viewport={"width": 768, "height": 1024}, has_touch=True)
    page = context.new_page()
    page.goto(served[1])
    page.wait_for_selector("#sections li")
    for view in ("map", "list", "tile/" + quote(restored(served[0])["key"], safe="")):
        page.evaluate("view => { location.hash = `#/${view}` }", view)
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.evaluate("location.hash = '#/map'")
    page.locator("#sections li", has_text="S001R1").tap()
    painted(page, "#map", 8)
    box = page.locator("#map").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.5)
    page.locator("#facts button").wait_for()
    context.close()
