"""Restore tiles with one tool, and write what it made, how long it took and what it needs; knows nothing of refocal.

    python _peer.py TOOL given.npz out.npz '{"option": value}'
    python _peer.py train_careamics pairs.npz folder '{"seconds": 600}'

Run by an interpreter that has the tool. Tiles are (y, x) uint8, named t0, t1 ...; results are float32 counts.
"""

import importlib.metadata
import json
import re
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np

Restore = Callable[[np.ndarray], np.ndarray]
_REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+")


def refocal(model: str = "gran-em", **options: object) -> Restore:
    import refocal as package
    from refocal.core.values import Contrast, Frames

    restorer = package.load(model, **options)
    return lambda tile: restorer([Frames(tile[None], contrast=Contrast(0, 255))])[0].counts


def richardson_lucy(sigma_px: float = 1.6, iterations: int = 10) -> Restore:
    from skimage.restoration import richardson_lucy as filtered

    kernel = _kernel(sigma_px)

    def restore(tile: np.ndarray) -> np.ndarray:
        padded = np.pad(tile.astype(np.float32) / 255, 32, mode="reflect")
        return 255 * filtered(padded, kernel, num_iter=iterations)[32:-32, 32:-32]

    return restore


def unsupervised_wiener(sigma_px: float = 1.6) -> Restore:
    from skimage.restoration import unsupervised_wiener as filtered

    kernel = _kernel(sigma_px)

    def restore(tile: np.ndarray) -> np.ndarray:
        padded = np.pad(tile.astype(np.float64) / 255, 32, mode="reflect")
        return 255 * filtered(padded, kernel, rng=1)[0][32:-32, 32:-32]

    return restore


def opencv_unsharp(sigma_px: float = 1.6, amount: float = 1.0) -> Restore:
    import cv2

    return lambda tile: cv2.addWeighted(tile, 1 + amount, cv2.GaussianBlur(tile, (0, 0), sigma_px), -amount, 0)


def opencv_nlm(strength: float = 5.0, sigma_px: float = 1.6, amount: float = 1.0) -> Restore:
    import cv2

    sharpened = opencv_unsharp(sigma_px, amount)
    return lambda tile: sharpened(cv2.fastNlMeansDenoising(tile, None, strength))


def spandrel(weights: str) -> Restore:
    import torch
    from spandrel import ModelLoader

    model = ModelLoader().load_from_file(weights).eval()

    def restore(tile: np.ndarray) -> np.ndarray:
        seen = torch.from_numpy(tile.astype(np.float32) / 255)[None, None].expand(-1, model.input_channels, -1, -1)
        with torch.inference_mode():
            return 255 * model(seen)[0].mean(0).numpy()

    return restore


def careamics(folder: str, tile_px: int = 256) -> Restore:
    from careamics import CAREamist

    checkpoint = max(Path(folder).rglob("*.ckpt"), key=lambda path: path.stat().st_mtime)
    made = CAREamist(checkpoint_path=checkpoint, work_dir=folder, enable_progress_bar=False)

    def restore(tile: np.ndarray) -> np.ndarray:
        edges = tuple(min(tile_px, n // 16 * 16) for n in tile.shape)
        given = tile[None].astype(np.float32)
        done, _ = made.predict(given, batch_size=1, tile_size=edges, data_type="array", num_workers=0)
        return np.asarray(done[0]).reshape(tile.shape)

    return restore


def train_careamics(pairs: Path, folder: Path, seconds: float, patch_px: int = 64, batch: int = 8) -> dict:
    """Train CARE on pairs (`seen` and `truth`, (pair, y, x) uint8) for so many seconds, into the folder."""
    from careamics import CAREamist
    from careamics.config import create_care_config
    from lightning.pytorch.callbacks import Timer

    with np.load(pairs) as given:
        seen, truth = (given[name].astype(np.float32) for name in ("seen", "truth"))
    held = max(1, len(seen) // 20)
    config = create_care_config(
        experiment_name="care", data_type="array", axes="SYX", patch_size=[patch_px] * 2, batch_size=batch,
        num_epochs=100_000,
    )  # fmt: skip
    start = time.perf_counter()
    timer = Timer(duration=timedelta(seconds=seconds))
    made = CAREamist(config, work_dir=folder, callbacks=[timer], enable_progress_bar=False)
    made.train(
        train_data=seen[held:], train_data_target=truth[held:], val_data=seen[:held], val_data_target=truth[:held]
    )
    made.trainer.save_checkpoint(folder / "last_of_all.ckpt")
    return {"seconds": time.perf_counter() - start, "steps": int(made.trainer.global_step)}


_DISTRIBUTIONS = {
    "refocal": "refocal", "richardson_lucy": "scikit-image", "unsupervised_wiener": "scikit-image",
    "opencv_unsharp": "opencv-python-headless", "opencv_nlm": "opencv-python-headless", "spandrel": "spandrel",
    "careamics": "careamics",
}  # fmt: skip


def installed(distribution: str) -> tuple[int, str]:
    """Return the bytes of an installed distribution and all that it requires here, and its version."""
    todo, seen, total = [distribution], set(), 0
    while todo:
        name = todo.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if key in seen:
            continue
        seen.add(key)
        files = found.files or []
        total += sum(path.stat().st_size for file in files if (path := Path(file.locate())).is_file())
        todo += [_REQUIREMENT.match(r)[0] for r in found.requires or () if "extra ==" not in r]
    if distribution == "refocal":  # installed as a link to its sources
        import refocal as package

        folder = Path(package.__file__).parent
        if not any(str(file).endswith("refocal/__init__.py") for file in importlib.metadata.files("refocal") or ()):
            total += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return total, importlib.metadata.version(distribution)


def _kernel(sigma_px: float) -> np.ndarray:
    line = np.exp(-0.5 * (np.arange(-12, 13) / sigma_px) ** 2)
    kernel = np.outer(line, line)
    return kernel / kernel.sum()


def _peak_mib() -> float:
    """Return the largest memory so far; what `getrusage` says begins with that of the parent."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+)", status)[1]) / 1024


def main() -> None:
    """Do what the command line asks for."""
    tool, given, out, options = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4])
    if tool == "train_careamics":
        out.mkdir(parents=True, exist_ok=True)
        (out / "trained.json").write_text(json.dumps(train_careamics(given, out, **options)))
        return
    with np.load(given) as tiles:
        seen = [tiles[f"t{i}"] for i in range(len(tiles.files))]
    start = time.perf_counter()
    restore = globals()[tool](**options)
    restore(seen[0])  # what is compiled or loaded at the first call is no part of the rate
    first, results, seconds = time.perf_counter() - start, {}, []
    for number, tile in enumerate(seen):
        start = time.perf_counter()
        results[f"t{number}"] = np.asarray(restore(tile), np.float32)
        seconds.append(time.perf_counter() - start)
    peak = _peak_mib()
    size, version = installed(_DISTRIBUTIONS[tool])
    np.savez(out, **results)
    facts = {"first": first, "seconds": seconds, "peak_mib": peak, "install_mib": size / 2**20, "version": version}
    out.with_suffix(".json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
