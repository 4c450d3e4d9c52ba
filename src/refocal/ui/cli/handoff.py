"""The command handoff."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from refocal.core.errors import BadOptionError
from refocal.ui.cli import Panel, app
from refocal.ui.cli._options import AsJson
from refocal.ui.cli._show import gathered, print_rows

if TYPE_CHECKING:
    from refocal.microscope.handoff.sections import Section

_Feabas = Annotated[Path | None, typer.Option(help="FEABAS working folder; receives stitch/stitch_coord/*.txt.")]
_MultisemInto = Annotated[Path | None, typer.Option(help="Write yesretake flags into this tree of the microscope.")]
_Unfinished = Annotated[bool, typer.Option(help="Include sections that are unfinished or wait to be restored.")]
_PixelNm = Annotated[float | None, typer.Option(help="Pixel size, nm, where the log does not give it.", min=0.001)]
_RetakeShare = Annotated[
    float, typer.Option(help="A section with a larger share of retakes is imaged again.", min=0, max=1)
]


@app.command("handoff", rich_help_panel=Panel.MICROSCOPE)
def handoff(
    out: Annotated[Path, typer.Argument(help="Output folder of a run.")],
    feabas: _Feabas = None,
    render_ws: Annotated[Path | None, typer.Option(help="Write tile specs for render-ws to this JSON file.")] = None,
    multisem_flags: Annotated[bool, typer.Option(help="Write yesretake flags to handoff/multisem of OUT.")] = False,
    multisem_into: _MultisemInto = None,
    sbemimage: Annotated[bool, typer.Option(help="Write grid.tile lists to handoff/sbemimage of OUT.")] = False,
    section: Annotated[list[str] | None, typer.Option(help="Stitch only this section; repeat for more.")] = None,
    link: Annotated[bool, typer.Option("--link", help="Link raw tiles that OUT lacks into it.")] = False,
    copy: Annotated[bool, typer.Option("--copy", help="Copy raw tiles that OUT lacks into it.")] = False,
    unfinished: _Unfinished = False,
    pixel_nm: _PixelNm = None,
    retake_share: _RetakeShare = 0.05,
    as_json: AsJson = False,
) -> None:
    """Write retake lists, microscope flags and stitching files.

    Everything is taken from the log of a run. Writes `retake.json` beside `retake.csv`, and the files that the options
    name. Sections to be imaged again are named, and stitched as recorded. Sections that cannot be stitched yet are
    named too; the exit code is then 1.

    For example:

        refocal handoff restored --feabas montage --link

        refocal handoff restored --multisem-flags --section S56R1
    """
    from refocal.microscope.handoff import HandoffRequest, hand_off
    from refocal.microscope.handoff.retakes import to_retake

    if link and copy:
        raise BadOptionError("--link and --copy exclude each other; give one of them")
    wanted = HandoffRequest(
        feabas=feabas,
        render_ws=render_ws,
        multisem_flags=multisem_flags,
        multisem_into=multisem_into,
        sbemimage=sbemimage,
        only=frozenset(section or ()),
        fetch="link" if link else "copy" if copy else None,
        unfinished=unfinished,
        pixel_nm=pixel_nm,
        retake_share=retake_share,
    )
    handed = hand_off(out, wanted)
    print_rows([_row(found, retake_share) for found in handed.sections], as_json)
    for problem in handed.problems:
        typer.echo(f"not handed over: {problem}", err=True)
    if again := [found.name for found in handed.stitched if to_retake(found, retake_share)]:
        names = ", ".join(again[:8]) + (" ..." if again[8:] else "")
        what = "to be imaged again, and handed over for stitching as recorded"
        typer.echo(f"{what}: {names}; run handoff again when there are better tiles", err=True)
    typer.echo("\n".join(f"wrote {name}" for name in gathered(handed.written)), err=True)
    raise typer.Exit(1 if handed.problems else 0)


def _row(found: "Section", retake_share: float) -> dict[str, Any]:
    from refocal.microscope.handoff.retakes import to_retake

    return {
        "section": found.name,
        "tiles": len(found.tiles),
        "retake": len(found.retakes),
        "share": round(found.retake_share, 4),
        "waiting": len(found.waiting),
        "decision": "retake" if to_retake(found, retake_share) else "keep",
    }
