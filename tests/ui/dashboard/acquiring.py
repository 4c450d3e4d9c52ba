"""A made-up acquisition: the log lines of a watch, and some images, without a microscope."""

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np

BEGIN = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
PIXEL_NM, WIDTH, HEIGHT = 4.0, 3128, 2724
BEAMS = 61
BAD_BEAM = 23


def rings(count):
    """Return (x, y) of hexagonally arranged beams, the first in the middle, in units of their distance."""
    steps = [(math.cos(math.radians(a)), math.sin(math.radians(a))) for a in (120, 180, 240, 300, 0, 60)]
    places, ring = [(0.0, 0.0)], 0
    while len(places) < count:
        ring += 1
        x, y = float(ring), 0.0
        for dx, dy in steps:
            for _ in range(ring):
                places.append((x, y))
                x, y = x + dx, y + dy
    return places[:count]


PLACES = rings(BEAMS)


def events(sections=6, fields=30, rate=25.0, seed=1):
    """Yield the events of an acquisition in the order of their times."""
    rng = np.random.default_rng(seed)
    yield at(0, {"event": "job", "inputs": ["raw"], "job": {"contrast": None}})
    number, restored, queue = 0, 0, []
    for section in range(sections):
        name = f"S{section + 1:03}R1"
        drift = 0.25 * max(0, section - 3)
        yield at(number / rate, {"event": "section", "section": name, "state": "open"})
        for field in range(fields):
            column, row = field % 6, field // 6
            tilt = 0.5 * abs(math.sin(section * 1.7 + column / 2 - row / 3))
            for beam, (dx, dy) in enumerate(PLACES, 1):
                number += 1
                seconds = number / rate
                sigma = float(np.clip(rng.gamma(6, 0.12) + tilt + drift + (beam == BAD_BEAM) * 1.2
                                      + (rng.random() < 0.01) * 4, 0.3, 9))  # fmt: skip
                empty = rng.random() < 0.03
                decision = "no_content" if empty else "kept" if sigma < 1.35 else "queued" if sigma < 3.2 else "retake"
                decision = "unreadable" if rng.random() < 0.0005 else decision
                tile = f"m{field + 1:06}_b{beam:03}"
                x, y = (column + 0.5 * (row % 2)) * 9.2 + dx, row * 8 + dy
                event = {
                    "event": "tile", "key": f"B01/{name}/{field + 1:06}/{name}_{tile}.bmp", "verdict": decision,
                    "decision": decision, "section": name, "tile": tile, "field": field + 1, "beam": beam,
                    "path": f"B01/{name}/{field + 1:06}/{name}_{tile}.bmp", "page": 0,
                    "reason": REASONS[decision].format(sigma), "sigma_px": None if empty else round(sigma, 3),
                    "sigma_nm": None if empty else sigma * PIXEL_NM, "noise": round(float(rng.normal(6, 0.5)), 2),
                    "anisotropy": None if empty else round(abs(float(rng.normal(0.06, 0.03))) + (beam == 40) * 0.3, 3),
                    "angle_deg": round(float(rng.uniform(0, 180)), 1), "expected": None, "pixel_nm": PIXEL_NM,
                    "height": HEIGHT, "width": WIDTH, "mode": "uint8", "seconds": 0.04, "taken": f"2026030{section}",
                    "stage_x_nm": round(x * WIDTH * PIXEL_NM * 0.95), "stage_y_nm": round(y * WIDTH * PIXEL_NM * 0.95),
                    "latency_s": round(float(rng.gamma(3, 0.08)), 3), "size": 8523000, "mtime_ns": number,
                }  # fmt: skip
                yield at(seconds, event)
                if decision == "queued":
                    queue.append(event)
                if queue and number % 9 == 0:
                    done = queue.pop(0)
                    restored += 1
                    yield at(seconds, {**done, "decision": "restored", "output": done["path"], "latency_s": None})
                if number % 250 == 0:
                    yield at(seconds, {
                        "event": "beat", "seen": number + 12, "pending": 12, "graded": number, "queued": len(queue),
                        "restored": restored, "lag_tiles": 12 + int(rng.integers(0, 30)),
                        "lag_seconds": round(float(rng.gamma(3, 0.2)), 2), "tiles_per_s": rate * rng.uniform(0.97, 1),
                        "bytes_per_s": rate * 8.5e6, "free_bytes": 3.2e12 - number * 8.5e6, "rss_bytes": 6.1e8,
                    })  # fmt: skip
            if field == 20 and section == 2:
                yield at(seconds, ALERTS[0] | {"section": name})
        yield at(seconds, {"event": "section", "section": name, "state": "complete", "tiles": fields * BEAMS})
        if section == 4:
            yield at(seconds, ALERTS[1] | {"section": name})
            yield at(seconds, ALERTS[2] | {"section": name})
    yield at(seconds, ALERTS[2] | {"active": False, "section": name})


REASONS = {
    "kept": "sharp: {:.2f} px",
    "queued": "blur of {:.2f} px is worth restoring",
    "retake": "blur of {:.2f} px is beyond restoring",
    "no_content": "no structure above the noise",
    "unreadable": "ends before the last row",
}
ALERTS = (
    {"event": "alert", "kind": "bad_beam", "subject": f"beam {BAD_BEAM}", "severity": "warning", "value": 1.2,
     "message": f"beam {BAD_BEAM} is 1.2 px softer than the median beam", "active": True},
    {"event": "alert", "kind": "trend", "subject": "focus", "severity": "critical", "value": 0.25, "active": True,
     "message": "mean blur rises by 0.25 px a section, over the last 3 sections"},
    {"event": "alert", "kind": "retake_rate", "subject": "retakes", "severity": "warning", "value": 0.031,
     "message": "3.1 % of the last 2,000 tiles are to be retaken", "active": True},
)  # fmt: skip


def at(seconds, event):
    time = (BEGIN + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
    return {"time": time, "job_sha256": "0" * 64, **event}


def texture(seed, sigma, size=(900, 1100), dtype=np.uint8):
    """Return membranes and vesicles, blurred."""
    rng = np.random.default_rng(seed)
    field = cv2.GaussianBlur(rng.standard_normal(size).astype(np.float32), (0, 0), 18)
    wall = np.exp(-np.square(field / (0.12 * field.std())))
    grain = cv2.GaussianBlur(rng.standard_normal(size).astype(np.float32), (0, 0), 1.5)
    spots = cv2.GaussianBlur((rng.random(size) < 0.002).astype(np.float32), (0, 0), 2.5) * 40
    image = cv2.GaussianBlur(
        175 - 110 * wall - 18 * grain / grain.std() * 0.6 - 60 * np.clip(spots, 0, 1), (0, 0), sigma
    )
    image = np.clip(image + rng.normal(0, 5, size), 0, 255)
    return image.astype(dtype) if dtype == np.uint8 else (image * 16 + 300).astype(dtype)


def write(out: Path, made, raw: Path | None = None, pictures=4) -> None:
    """Append events to the log of an output folder, with the images of some restored and some other tiles."""
    out.mkdir(exist_ok=True)
    drawn = dict.fromkeys(("restored", "kept", "retake"), 0)
    with (out / "log.jsonl").open("a") as log:
        for event in made:
            if event["event"] == "job" and raw:
                event = {**event, "inputs": [str(raw)]}
            log.write(json.dumps(event) + "\n")
            if raw and drawn.get(event.get("decision"), pictures) < pictures:
                drawn[event["decision"]] += 1
                sigma = event["sigma_px"]
                images = [(raw, sigma), (out, 0.6)] if event["decision"] == "restored" else [(raw, sigma)]
                for root, blur in images:
                    path = root / event["path"]
                    path.parent.mkdir(parents=True, exist_ok=True)
                    cv2.imwrite(str(path), texture(len(event["key"]) + drawn[event["decision"]], blur))
