"""What the model of a recipe says about itself; asked before training, so that nothing is trained that cannot be used.

Which channels and frames a net looks at, it declares itself (`refocal.core.values.Net`). Examples are grey.
"""

from typing import Any

from pydantic import ValidationError
from torch import nn

from refocal.core.errors import BadOptionError
from refocal.core.values import Net
from refocal.learn.export.onnx_graph import reach_of
from refocal.learn.recipe import Recipe
from refocal.models import torch_weights
from refocal.models.header import ModelHeader


def header_of(recipe: Recipe, net: nn.Module, **facts: Any) -> ModelHeader:
    """Return the header of a recipe's model.

    Parameters
    ----------
    net
        The net of the recipe, trained or not.
    **facts
        Further fields of the header: `data`, `training`.

    Raises
    ------
    BadModelError
        If the net declares too little of itself.
    BadOptionError
        If the net takes other images than the recipe shows it, or no header can hold what it declares.
    """
    about = torch_weights.declared(net)
    _refuse_other_images(recipe, about)
    try:
        return ModelHeader(
            name=recipe.name,
            net=recipe.net,
            options=recipe.net_options,
            reach=reach_of(net),
            channels=about.inputs,
            frames=about.frames,
            recipe=recipe.model_dump(mode="json"),
            recipe_sha256=recipe.sha256,
            licence=recipe.licence,
            **facts,
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BadOptionError(f"the model {recipe.name[:40]} could not be written ({where}: {first['msg']})") from error


def _refuse_other_images(recipe: Recipe, net: Net) -> None:
    if recipe.sections > 1:  # the objective decides which of the sections the net sees
        return
    least, most = recipe.frames if recipe.frames and net.frames else (1, 1)  # with 0 frames inputs are those of one
    if not least == most == net.inputs:
        shown = f"{least}" if least == most else f"{least} to {most}"
        raise BadOptionError(
            f"the net {recipe.net!r} takes {net.inputs} channels with these net_options, and the recipe shows it "
            f"{shown}: images are grey, so set net_options.channels=1, and `frames` to the number that the net takes"
        )
