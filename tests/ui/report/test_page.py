"""The report in a real browser: it opens from disk without a request, and everything on it can be used."""

import json

import cv2
import numpy as np
import pytest

from refocal.ui.report import write_report

HOSTILE = '"><img src=x onerror=window.hit=1><script>window.hit=1</script>.png'

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Four tiles with pictures (one restored), a hostile name, and a retake."""
    folder = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(1)
    events = []
    for i, (decision, sigma) in enumerate([("kept", 0.6), ("restored", 2.0), ("retake", 5.0), ("no_content", None)]):
        name = f"s/tile_r{i // 2}_c{i % 2}.png"
        image = rng.integers(60, 190, (220, 220), np.uint8)
        for root, pixels in (("raw", cv2.GaussianBlur(image, (0, 0), 1)), ("truth", image)):
            (folder / root / "s").mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / root / name), pixels)
        event = {"event": "tile", "key": name, "path": name, "page": 0, "decision": decision, "sigma_px": sigma}
        event |= {"reason": f"reason {i}", "noise": 3.0 + i, "height": 220, "width": 220, "seconds": 0.1}
        if decision == "restored":
            (folder / "s").mkdir()
            cv2.imwrite(str(folder / name), image)
            event["output"] = name
        events.append(event)
    events.append({"event": "tile", "key": HOSTILE, "path": HOSTILE, "decision": "failed", "error": HOSTILE})
    (folder / "log.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    return write_report(folder, folder / "report.html", truth=folder / "truth", inputs=folder / "raw", title=HOSTILE)


@pytest.fixture
def page(browser, report):
    """The open page; at the end nothing may have been complained about or asked for."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    complaints, requests = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report.as_uri())
    yield page
    assert complaints == []
    assert [url for url in requests if not url.startswith("data:")] == [report.as_uri()]
    context.close()


def top_of(page, selector):
    return page.locator(selector).bounding_box()["y"]


def test_pictures_are_there(page):
    sizes = page.eval_on_selector_all("img", "images => images.map(i => i.naturalWidth)")
    assert len(sizes) > 8
    assert min(sizes) > 0


def test_the_slider_moves_with_mouse_and_keyboard(page):
    slider = page.locator("#t1 input[type=range]")
    clip = "getComputedStyle(document.querySelector('#t1 .after')).clipPath"
    assert "50%" in page.evaluate(clip)
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.mouse.click(box["x"] + 0.2 * box["width"], box["y"] + 0.5 * box["height"])
    at = float(slider.input_value())
    assert 15 < at < 25
    assert f"{at:g}%" in page.evaluate(clip)
    page.keyboard.press("ArrowRight")
    assert float(slider.input_value()) > at
    page.keyboard.press("End")
    assert "100%" in page.evaluate(clip)


def test_the_slider_follows_a_finger(browser, report):
    context = browser.new_context(viewport={"width": 420, "height": 800}, has_touch=True)
    page = context.new_page()
    page.goto(report.as_uri())
    slider = page.locator("#t1 input[type=range]")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.touchscreen.tap(box["x"] + 0.8 * box["width"], box["y"] + 0.5 * box["height"])
    assert float(slider.input_value()) > 70
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()


def test_the_table_sorts_filters_and_finds(page):
    def cells(column):
        return page.locator(f"#tiles tbody td:nth-child({column})").all_inner_texts()

    button = page.locator("#tiles thead button", has_text="blur, px")
    button.click()
    assert cells(3) == ["0.60", "2.00", "5.00", "–", "–"]
    assert button.locator("..").get_attribute("aria-sort") == "ascending"
    button.click()
    assert cells(3) == ["5.00", "2.00", "0.60", "–", "–"]
    page.locator("#only").select_option("retake")
    assert cells(2) == ["to be retaken"]
    page.locator("#only").select_option("")
    page.locator("#find").fill("reason 1")
    assert cells(1) == ["s/tile_r0_c1.png"]


def test_a_cell_of_the_map_leads_to_its_tile(page):
    cell = page.locator(".map .cell[data-tile='2']")
    cell.hover()
    assert "s/tile_r1_c0.png" in page.locator("#tip").inner_text()
    cell.click()
    page.wait_for_function("Math.abs(document.querySelector('#t2').getBoundingClientRect().top) < 120")
    assert page.url.endswith("#t2")


def test_a_cell_without_pictures_leads_to_its_row(browser, report):
    bare = write_report(report.parent, report.with_name("bare.html"), inputs=report.parent / "raw", max_pictures=0)
    page = browser.new_page(viewport={"width": 1280, "height": 500}, reduced_motion="reduce")
    page.goto(bare.as_uri())
    page.locator(".map .cell[data-tile='3']").click()
    assert page.locator("#tiles tr.at td").first.inner_text() == "s/tile_r1_c1.png"
    assert 0 < top_of(page, "#tiles tr.at") < 500
    page.close()


def test_hostile_names_are_only_text(page):
    assert page.evaluate("window.hit") is None
    assert page.title() == HOSTILE
    page.locator("#find").fill("onerror")
    assert page.locator("#tiles tbody tr").count() == 1
    page.locator(".map .cell[data-tile='4']").hover()
    assert "onerror" in page.locator("#tip").inner_text()
    assert page.evaluate("window.hit") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes_have_enough_contrast(browser, report, scheme):
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(report.as_uri())
    colours = [
        [int(v) for v in page.evaluate(f"getComputedStyle(document.querySelector('{s}')).{p}")[4:-1].split(",")]
        for s, p in (("section", "backgroundColor"), ("section", "color"), (".quiet", "color"), (".list a", "color"))
    ]
    light = [sum(w * (c / 255) ** 2.2 for w, c in zip((0.2126, 0.7152, 0.0722), rgb, strict=True)) for rgb in colours]
    for text in light[1:]:
        assert (max(text, light[0]) + 0.05) / (min(text, light[0]) + 0.05) > 4.5
    context.close()
