"""Pictures as prompts, as people write them beside a picture: an IP-Adapter's
`NAME:WEIGHT:kind=style:start=0:end=0.8:join=average`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from generation.catalog import Catalog
from generation.control_uses import share
from generation.families.image_prompts import of_faces, sees_for, wanted_eyes
from generation.models import ModelFile, ModelKind
from generation.name_search import nearest
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.request_fields import IMAGE_PROMPTS_MAX, PICTURES_MAX, ImageJoin, ImageKind
from generation.request_options import exact, options
from generation.request_parts import ImagePrompt

KINDS: Final[Mapping[str, ImageKind]] = {
    "whole": "whole",
    "linear": "whole",
    "style": "style",
    "style transfer": "style",
    "composition": "composition",
}
"""Also as ComfyUI's IPAdapter calls them."""
JOINS: Final[Mapping[str, ImageJoin]] = {"concat": "concat", "average": "average"}
BY_BLOCKS: Final = "sdxl"
"""The family whose blocks are known that draw style and composition."""


def of(
    asked: str, pictures: tuple[str, ...], weight: float | None, catalog: Catalog
) -> ImagePrompt:
    """An IP-Adapter as the catalogue names it, and what is written behind its name; a `weight`
    goes before one that is written there. Raises Refused.
    """
    parts = asked.split(":")
    ends = range(len(parts), 0, -1)
    kind = ModelKind.IPADAPTER
    names = (":".join(parts[:end]) for end in ends)
    name = next((n for n in names if catalog.find(kind, n) is not None), parts[0])
    written = parts[len(name.split(":")) :]
    file = catalog.get(kind, name)
    if written and "=" not in written[0]:
        option = options()["image_weight"]
        own = float(option.parse(written.pop(0)))
        option.check(own)
        weight = own if weight is None else weight
    told: dict[str, Any] = {}
    for part in written:
        key, _, value = (piece.strip() for piece in part.partition("="))
        read = _READ.get(key.casefold())
        if read is None or key.casefold() in told:
            [alike] = nearest(key, _READ)
            raise Refused("image_prompt_parts", text=asked[:80], nearest=alike)
        told[key.casefold()] = read(value)
    if weight is not None:
        told["weight"] = weight
    return ImagePrompt(file.name, pictures, **told)


def _one_of(key: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    def read(text: str) -> str:
        if text.casefold() not in names:
            choices = ", ".join(dict.fromkeys(names.values()))
            raise Refused("control_choice", key=key, value=text[:40], choices=choices)
        return names[text.casefold()]

    return read


_READ: Final[Mapping[str, Callable[[str], Any]]] = {
    "kind": _one_of("kind", KINDS),
    "start": share,
    "end": share,
    "join": _one_of("join", JOINS),
}


def written(prompt: ImagePrompt) -> str:
    """What stands behind the name and the weight; "" where nothing does."""
    found = [f":kind={prompt.kind}"] if prompt.kind != "whole" else []
    if prompt.start > 0:
        found.append(f":start={exact(prompt.start)}")
    if prompt.end < 1:
        found.append(f":end={exact(prompt.end)}")
    if prompt.join != "concat":
        found.append(f":join={prompt.join}")
    return "".join(found)


def of_given(
    given: Mapping[str, Any], catalog: Catalog, model: ModelFile
) -> tuple[ImagePrompt, ...]:
    """Those that somebody gave: pictures for one IP-Adapter, the only one that fits the model where
    none is named. Raises Refused.
    """
    shown = given.get("image_prompt")
    if shown is None:
        for name in ("ip_adapter", "image_weight"):
            if name in given:
                raise Refused("option_needs", option=name, needs="image_prompt")
        return ()
    pictures = tuple(map(str, shown)) if isinstance(shown, tuple) else (str(shown),)
    if len(pictures) > PICTURES_MAX:
        raise Refused("image_prompts_too_many", high=PICTURES_MAX)
    weight = float(given["image_weight"]) if "image_weight" in given else None
    name = str(given.get("ip_adapter", ""))
    if not name:
        fitting = [file.name for file in fitting_adapters(catalog, model)]
        if not fitting:
            raise Refused("no_ipadapters", model=model.name)
        if len(fitting) > 1:
            raise Refused("ipadapter_unnamed", names=", ".join(sorted(fitting)[:5]))
        name = fitting[0]
    found = of(name, pictures, weight, catalog)
    shares = given.get("image_shares", ())
    return (msgspec.structs.replace(found, shares=shares),)


def changed(
    prompts: tuple[ImagePrompt, ...], given: Mapping[str, Any], catalog: Catalog
) -> tuple[ImagePrompt, ...]:
    """Those of a request, the first of them by another IP-Adapter or as strong as somebody gave.

    Raises Refused where there is none.
    """
    told = [name for name in ("ip_adapter", "image_weight") if name in given]
    if not told:
        return prompts
    if not prompts:
        raise Refused("option_needs", option=told[0], needs="image_prompt")
    first, *others = prompts
    weight = float(given["image_weight"]) if "image_weight" in given else None
    if "ip_adapter" in given:
        named = of(str(given["ip_adapter"]), first.pictures, weight, catalog)
        first = msgspec.structs.replace(named, shares=first.shares)
    elif weight is not None:
        first = msgspec.structs.replace(first, weight=weight)
    return (first, *others)


def fitting_adapters(catalog: Catalog, model: ModelFile) -> list[ModelFile]:
    """The IP-Adapters that a model can be drawn with, by name."""
    return [file for file in catalog.ipadapters if file.fits(model)]


def suggested(catalog: Catalog, model: ModelFile, *, faces: bool) -> list[ModelFile]:
    """The same, those first that were trained on faces, or those that were not."""
    return sorted(fitting_adapters(catalog, model), key=lambda file: of_faces(file) is not faces)


def eyes_of(adapter: ModelFile, catalog: Catalog) -> ModelFile:
    """The encoder that an IP-Adapter needs. Raises Refused, naming its file."""
    for eyes in catalog.clip_visions:
        if sees_for(eyes, adapter):
            return eyes
    raise Refused("eyes_missing", name=adapter.name, file=wanted_eyes(adapter))


def check(request: GenerationRequest, model: ModelFile, catalog: Catalog) -> None:
    """Refuse pictures that the model can't be shown as prompts."""
    if len(request.image_prompts) > IMAGE_PROMPTS_MAX:
        raise Refused("image_prompts_too_many", high=IMAGE_PROMPTS_MAX)
    for prompt in request.image_prompts:
        adapter = catalog.get(ModelKind.IPADAPTER, prompt.name)
        if not adapter.fits(model):
            raise Refused("ipadapter_mismatch", name=adapter.name, model=model.name)
        eyes_of(adapter, catalog)
        if prompt.kind != "whole" and model.family != BY_BLOCKS:
            raise Refused("image_kind_unknown", kind=prompt.kind, model=model.name)
        if prompt.start >= prompt.end:
            raise Refused("control_span", start=prompt.start, end=prompt.end)
        if prompt.shares and len(prompt.shares) != len(prompt.pictures):
            raise Refused("image_shares", count=len(prompt.pictures))


def check_named(asked: str, model: ModelFile | None, catalog: Catalog) -> None:
    """Refuse an IP-Adapter that a preset names where it can't be, with its model if it has one."""
    prompt = of(asked, (), None, catalog)
    adapter = catalog.get(ModelKind.IPADAPTER, prompt.name)
    if prompt.start >= prompt.end:
        raise Refused("control_span", start=prompt.start, end=prompt.end)
    if model is None:
        return
    if not adapter.fits(model):
        raise Refused("ipadapter_mismatch", name=adapter.name, model=model.name)
    if prompt.kind != "whole" and model.family != BY_BLOCKS:
        raise Refused("image_kind_unknown", kind=prompt.kind, model=model.name)


def read_line(value: str, before: ImagePrompt) -> ImagePrompt:
    """What a line of a dialog says of one that was there: `NAME:WEIGHT:kind=style`. Raises
    Refused.
    """
    parts = value.split(":")
    cut = next((n for n, part in enumerate(parts) if n and "=" in part), len(parts))
    name, weight = ":".join(parts[:cut]), 1.0
    head, colon, number = name.rpartition(":")
    if colon and _is_number(number):
        option = options()["image_weight"]
        name, weight = head, float(option.parse(number))
        option.check(weight)
    told: dict[str, Any] = {"kind": "whole", "start": 0.0, "end": 1.0, "join": "concat"}
    for part in parts[cut:]:
        key, _, text = (piece.strip() for piece in part.partition("="))
        if key.casefold() not in _READ:
            [alike] = nearest(key, _READ)
            raise Refused("image_prompt_parts", text=value[:80], nearest=alike)
        told[key.casefold()] = _READ[key.casefold()](text)
    return msgspec.structs.replace(before, name=name.strip(), weight=weight, **told)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
