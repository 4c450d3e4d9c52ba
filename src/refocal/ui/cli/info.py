"""The command info."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer
import yaml

from refocal.core.errors import TileError, UnknownPartError, UsageError, nearest
from refocal.eventlog.fields import printed
from refocal.eventlog.log import LOG
from refocal.models import header
from refocal.ui.cli import Panel, app
from refocal.ui.cli._options import AsJson
from refocal.ui.cli._show import print_json

_MOST = 8


@app.command("info", rich_help_panel=Panel.LOOK)
def info(
    what: Annotated[str, typer.Argument(help="An image, a volume (path or URL), a folder, or a model.")],
    as_json: AsJson = False,
) -> None:
    """Show what an image, volume, folder or model is.

    For example:

        refocal info tile.tif

        refocal info volume.zarr

        refocal info gran-em --json
    """
    row = _row(what)
    if as_json:
        print_json(row)
        return
    for name, value in row.items():
        told = _told(value)
        print(name + told if told.startswith("\n") else f"{name:<16} {told}")


def _row(what: str) -> dict[str, Any]:
    from refocal.parts.volume_formats import is_volume

    path = Path(what)
    if path.suffix in (".safetensors", ".onnx") or (not path.exists() and what in header.shipped()):
        return _model(path)
    if is_volume(what):
        return _volume(what)
    if path.is_dir():
        return {name: value for name, value in _folder(path) if value}
    if not path.exists():
        raise UnknownPartError(f"no file, folder or shipped model {what!r}.{nearest(what, header.shipped())}")
    return _image(path)


def _model(file: Path) -> dict[str, Any]:
    path = header.find(file)
    about = header.read(path)
    return {"file": str(path), **about.model_dump(mode="json", exclude={"data"}), "data_files": len(about.data)}


def _image(file: Path) -> dict[str, Any]:
    from refocal.parts.formats import open_image

    with open_image(file) as image:
        about = image.info
    pages, height, width = about.shape
    more = {name: getattr(about, name) for name in ("pixel_y_nm", "section_nm") if getattr(about, name)}
    return {
        "file": str(file), "pages": pages, "height": height, "width": width, "mode": str(about.dtype),
        "pixel_nm": about.pixel_nm, **more, **about.metadata, "warnings": "; ".join(about.warnings) or None,
    }  # fmt: skip


def _volume(given: str) -> dict[str, Any]:
    from refocal.core.storage import store
    from refocal.parts.volume_formats import kind_of, open_volume

    place = store(given)
    volume = open_volume(place)
    about = volume.info
    volume.close()
    z, y, x = about.shape
    return {
        "volume": given, "format": " ".join(filter(None, (kind_of(place), about.version))), "axes": about.axes,
        "sections": z, "height": y, "width": x, "mode": str(about.dtype), "voxel_nm": about.voxel_nm,
        "chunk": about.chunk, "shard": about.unit if about.unit != about.chunk else None, "levels": about.levels,
    } | ({"warnings": "; ".join(about.warnings)} if about.warnings else {})  # fmt: skip


def _folder(folder: Path) -> Iterator[tuple[str, Any]]:
    """Yield what is in a folder, and what can be done with it; what is not there is None."""
    from refocal.engine.tiles.listing import find_images
    from refocal.parts.layouts import recognise
    from refocal.parts.volume_formats import is_volume

    try:
        images = find_images([folder])
    except UsageError:
        images = {}
    volumes = sorted(str(path) for path in folder.iterdir() if is_volume(path))
    run = (folder / LOG).is_file()
    kinds = Counter(path.suffix.lower() for path in images.values())
    yield "folder", str(folder)
    yield "layout", recognise(folder) if images else None
    yield "images", ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "none"
    yield "first", _first(folder, images)
    yield "volumes", ", ".join(volumes[:_MOST]) + (f" and {len(volumes) - _MOST} more" if volumes[_MOST:] else "")
    yield "run", str(folder / LOG) if run else None
    if run:
        yield "next", f"refocal report {quote(str(folder))}, refocal dashboard {quote(str(folder))}"
    elif images:
        yield "next", f"refocal grade {quote(str(folder))}"
    else:
        hint = "give image files, volumes, or folders that hold some"
        yield "next", f"refocal info {quote(volumes[0])}" if volumes else hint


def _first(folder: Path, images: Mapping[str, Path]) -> str | None:
    for name, path in images.items():
        try:
            about = _image(path)
        except TileError as error:
            return str(error)
        size = "{height} x {width} px, {mode}, pixel_nm {pixel_nm}".format(**about)
        return f"{folder / name}: {size}"
    return None


def _told(value: Any) -> str:
    """Return a value as a person reads it: what has parts is YAML, indented below its name where it needs lines."""
    if isinstance(value, Mapping):
        text = yaml.safe_dump(dict(value), sort_keys=False, default_flow_style=None, width=160).rstrip()
        return text.strip("{}") if "\n" not in text else "".join(f"\n  {line}" for line in text.splitlines())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "-" if value is None else printed(str(value))
