"""OME-XML for the first page of a TIFF whose name ends in .ome.tif: size, type and pixel edge (schema 2016-06)."""

from pathlib import Path

from refocal.core.values import ImageInfo

_SPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_TYPES = {"float32": "float", "float64": "double"}


def is_ome(path: Path) -> bool:
    """Say whether a file is called OME-TIFF."""
    return path.name.lower().endswith((".ome.tif", ".ome.tiff"))


def xml(like: ImageInfo, name: str) -> str:
    """Describe a stack of grey pages, in z."""
    from xml.sax.saxutils import quoteattr  # brings urllib and ssl with it, which no other file needs

    count, height, width = like.shape
    kind = _TYPES.get(like.dtype.name, like.dtype.name)
    sizes = f'SizeX="{width}" SizeY="{height}" SizeZ="{count}" SizeC="1" SizeT="1"'
    edges = {"X": like.pixel_nm, "Y": like.pixel_y_nm or like.pixel_nm, "Z": like.section_nm}
    nm = "".join(f' PhysicalSize{a}="{edge:.10g}" PhysicalSize{a}Unit="nm"' for a, edge in edges.items() if edge)
    order = "false" if like.dtype.newbyteorder("=").str.startswith(("<", "|")) else "true"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="{_SPACE}" '
        f'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="{_SPACE} {_SPACE}/ome.xsd">'
        f'<Image ID="Image:0" Name={quoteattr(name)}><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="{kind}" '
        f'{sizes}{nm} BigEndian="{order}"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
        f'<TiffData IFD="0" PlaneCount="{count}"/></Pixels></Image></OME>'
    )
