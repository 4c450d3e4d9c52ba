"""A history of a million tiles: how long index and questions take, and when the page is there.

    python benchmarks/dashboard.py [--tiles 1000000] [--json results.json]

The log is that of a 61-beam microscope (`tests/ui/dashboard/acquiring.py`). The page is opened in a headless
Chromium, with the index there (warm) and while it is being built (cold). "First paint" is what the browser reports,
"map drawn" the moment at which the first section is there.
"""

import argparse
import json
import multiprocessing
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "browser"))
import acquiring

from refocal.eventlog.index import History

CHROMIUM = "/usr/bin/chromium"
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
FIELDS = 30


def build(log: str, index: str, answer: "multiprocessing.Queue[dict[str, float]]") -> None:
    """Build the index in a process of its own, so that its memory is its own."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with History(Path(log), Path(index)) as history:
        history.catch_up()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer.put({"seconds": time.perf_counter() - start, "mib": after / 1024, "more_mib": (after - before) / 1024})


def questions(log: Path, index: Path) -> dict[str, float]:
    """Return the median milliseconds of each question, with a fresh connection each time."""
    with History(log, index) as history, history.readings() as read:
        sections = read.sections()
        middle = sections[len(sections) // 2]["id"]
        key = read.listed((3,), start=50, limit=1)[1][0]["key"]
        asked = {
            "summary": lambda r: r.summary(),
            "sections": lambda r: r.sections(),
            "tiles of a section": lambda r: r.tiles(middle),
            "one tile": lambda r: r.tile(key),
            "retakes, softest 100": lambda r: r.listed((3,), sort="sigma_px"),
            "retakes by name": lambda r: r.listed((3,), find="b023"),
            "find a name anywhere": lambda r: r.found("m000007_b061"),
            "find no name": lambda r: r.found("nothing like this"),
            "beams, all": lambda r: r.beams(),
            "beams of a section": lambda r: r.beams([middle]),
            "timeline": lambda r: r.timeline(),
            "alerts": lambda r: r.alerts(),
        }
        found = {}
        for name, ask in asked.items():
            times = []
            for _ in range(7):
                start = time.perf_counter()
                with history.readings() as fresh:
                    ask(fresh)
                times.append(1000 * (time.perf_counter() - start))
            found[name] = round(statistics.median(times), 2)
        with log.open("a") as file:
            file.write(json.dumps(acquiring.at(10**6, {"event": "tile", "key": "new.png", "decision": "kept"})) + "\n")
        start = time.perf_counter()
        history.update()
        found["update by one line"] = round(1000 * (time.perf_counter() - start), 2)
    return found


def opened(out: Path, index: Path) -> dict[str, float]:
    """Start the dashboard, open the page at once, and return seconds."""
    from playwright.sync_api import sync_playwright

    program = Path(sys.executable).with_name("refocal")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        start = time.perf_counter()
        server = subprocess.Popen(
            [program, "dashboard", out, "--port", "0", "--index", index], stderr=subprocess.PIPE, text=True
        )
        url = server.stderr.readline().split()[0]
        ready = time.perf_counter() - start
        begin = time.perf_counter()
        page.goto(url, wait_until="commit")
        page.wait_for_selector("#sections li")
        listed = time.perf_counter() - begin
        page.wait_for_function("document.querySelector('#nomap').hidden")
        drawn = time.perf_counter() - begin
        paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null")
        said = page.locator("#live").inner_text()
        heap = page.evaluate("performance.memory?.usedJSHeapSize ?? 0") / 2**20
        while json.loads(urllib.request.urlopen(url + "api/state").read())["progress"]["more"]:
            time.sleep(0.2)
        whole = time.perf_counter() - begin
        memory = int(
            next(
                line for line in Path(f"/proc/{server.pid}/status").read_text().splitlines() if "VmHWM" in line
            ).split()[1]
        )
        server.terminate()
        server.wait()
        browser.close()
    return {
        "program ready": ready,
        "first paint": paint and paint / 1000,
        "sections listed": listed,
        "map drawn": drawn,
        "index up to date": whole,
        "server MiB": memory / 1024,
        "page MiB": heap,
        "said": said,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiles", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out, index = Path(folder) / "out", Path(folder) / "index.sqlite"
        sections = max(1, asked.tiles // (FIELDS * acquiring.BEAMS))
        acquiring.write(out, acquiring.events(sections=sections, fields=FIELDS))
        log = out / "log.jsonl"
        found = {"sections": sections, "log MiB": log.stat().st_size / 2**20}
        answer = multiprocessing.get_context("spawn").Queue()
        process = multiprocessing.get_context("spawn").Process(target=build, args=(str(log), str(index), answer))
        process.start()
        found["index"] = {**answer.get(), "file MiB": index.stat().st_size / 2**20}
        process.join()
        found["questions, ms"] = questions(log, index)
        if shutil.which("chromium"):
            found["warm"] = opened(out, index)
            found["cold"] = opened(out, Path(folder) / "cold.sqlite")
        print(json.dumps(found, indent=1))
        if asked.json:
            asked.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
