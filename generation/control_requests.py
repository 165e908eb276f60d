"""From the ControlNets and control pictures that a person gave to those of a request."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from generation import control_uses
from generation.catalog import Catalog
from generation.families.control import REPAINT, follows, is_shown_mask
from generation.models import ModelFile, ModelKind
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.request_fields import CONTROLS_MAX
from generation.request_parts import ControlUse, LoraUse


def of(
    given: Mapping[str, Any], catalog: Catalog, model: ModelFile, loras: Iterable[LoraUse]
) -> tuple[ControlUse, ...]:
    """A control picture without a named ControlNet takes the only one that fits the model, or the
    model or LoRA, where that follows it itself. One for inpainting sees the picture of the mask.

    Several ControlNets read the same control picture, or in order each its own where there are as
    many, or the picture that `picture=` names. Raises Refused.
    """
    scale = float(given["control_scale"]) if "control_scale" in given else None
    asked, pictures = several(given.get("controlnet")), several(given.get("control_picture"))
    if max(len(asked), len(pictures)) > CONTROLS_MAX:
        raise Refused("controls_too_many", high=CONTROLS_MAX)
    if asked:
        if len(asked) < len(pictures):
            raise Refused("control_pictures_unread", pictures=len(pictures), nets=len(asked))
        read = (
            _picture(text, number, pictures, given, catalog) for number, text in enumerate(asked)
        )
        if len(asked) == 1:
            return (control_uses.of(asked[0], next(read), scale, catalog),)
        # of several the one scale is that of those without their own
        usual = 1.0 if scale is None else scale
        return tuple(
            control_uses.of(text, picture, None, catalog, usual)
            for text, picture in zip(asked, read, strict=True)
        )
    if not pictures:
        return ()
    if len(pictures) > 1:
        raise Refused("control_pictures_unread", pictures=len(pictures), nets=0)
    use = ControlUse(_only(catalog, model, loras), pictures[0], automatic=True)
    if scale is not None:
        use = msgspec.structs.replace(use, scale=scale)
    return (control_uses.resolved(use, catalog),)


def _picture(
    asked: str, number: int, pictures: tuple[str, ...], given: Mapping[str, Any], catalog: Catalog
) -> str:
    """What a ControlNet reads. Raises Refused where that was not given."""
    named = control_uses.picture_of(asked, catalog)
    if named not in (None, "control_picture"):
        assert named is not None
        if named not in given:
            raise Refused("option_needs", option="controlnet", needs=named)
        return str(given[named])
    if pictures:
        return pictures[number if 1 < len(pictures) > number else 0]
    use = control_uses.of(asked, str(given.get("init_picture", "")), None, catalog)
    net = control_uses.reader(use.name, catalog)
    masked = {"mask", "init_picture"} <= given.keys()
    if not masked or not (is_shown_mask(net) or use.kind == REPAINT):
        raise Refused("option_needs", option="controlnet", needs="control_picture")
    return use.picture


def without_read(
    values: Mapping[str, Any], given: Mapping[str, Any], catalog: Catalog
) -> dict[str, Any]:
    """The values of a request without the second and third pictures that ControlNets read: these
    are shown to no model.
    """
    read = {control_uses.picture_of(text, catalog) for text in several(given.get("controlnet"))}
    return {name: value for name, value in values.items() if name not in read - {"init_picture"}}


def _only(catalog: Catalog, model: ModelFile, loras: Iterable[LoraUse]) -> str:
    known = (model, *(catalog.get(ModelKind.LORA, use.name) for use in loras))
    nets = [each for each in known if follows(each)]
    nets = nets or [net for net in catalog.controlnets if net.fits(model)]
    fitting = [net.name for net in nets]
    if not fitting:
        raise Refused("no_controlnets", model=model.name)
    if len(fitting) > 1:
        raise Refused("controlnet_unnamed", names=", ".join(sorted(fitting)[:5]))
    return fitting[0]


def several(value: object) -> tuple[str, ...]:
    """What was given once, several times or not at all."""
    if isinstance(value, tuple):
        return tuple(map(str, value))
    return () if value is None else (str(value),)


def told(
    use: ControlUse, asked: str, scale: float | None, request: GenerationRequest, catalog: Catalog
) -> ControlUse:
    """Another ControlNet in the place of one of a request, or the same told anew. Raises Refused
    where it is to read a picture that the request has not.
    """
    option = control_uses.picture_of(asked, catalog) or "control_picture"
    picture = use.picture if option == "control_picture" else getattr(request, option)
    if picture is None:
        raise Refused("option_needs", option="controlnet", needs=option)
    return control_uses.of(asked, picture, scale, catalog, use.scale)
