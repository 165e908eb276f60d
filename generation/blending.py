"""Several pictures blended into one, by whatever there is: an IP-Adapter that draws after the mean
of what it sees in them, a model that edits several pictures, or, of two pictures that the same
model drew, their prompts and noise.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from generation import image_prompts
from generation.catalog import Catalog
from generation.families import FAMILIES, family_of
from generation.models import ModelFile, ModelKind
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.request_parts import Variation

AFTER: Final = "best quality, high quality"
"""What an IP-Adapter draws where nobody says, as its authors have it."""
EDITED: Final = "Blend these pictures into one."
FIELDS: Final = ("init_picture", "second_picture", "third_picture", "fourth_picture")
MOST: Final = len(FIELDS)
EVEN: Final = 0.5
SIGNS: Final = ("AND", "<", "[")
"""What prompts have that can't be weighed against another as a whole."""


class DrawnHere(NamedTuple):
    """A picture that was drawn here: how, and by which seeds."""

    request: GenerationRequest
    seed: int
    variation_seed: int | None
    file: str
    """Its hash in the store."""


def of_pictures(
    pictures: Sequence[str],
    prompt: str,
    shares: Sequence[float],
    catalog: Catalog,
    model: ModelFile,
) -> dict[str, Any]:
    """What is asked for to blend pictures of the store; `shares` say how much of each. Raises
    Refused where neither an IP-Adapter nor the model can.
    """
    adapter = _adapter(catalog, model)
    if adapter is not None:
        return {
            "prompt": prompt or AFTER,
            "model": model.name,
            "ip_adapter": f"{adapter.name}:join=average",
            "image_prompt": tuple(pictures),
            "image_shares": tuple(shares),
        }
    references = family_of(model).references if model.family in FAMILIES else None
    if references is not None and references.most >= len(pictures):
        shown = dict(zip(FIELDS, pictures, strict=False))
        return {"prompt": prompt or EDITED, "model": model.name, **shown}
    raise Refused("blend_impossible", model=model.name)


def _adapter(catalog: Catalog, model: ModelFile) -> ModelFile | None:
    for adapter in image_prompts.suggested(catalog, model, faces=False):
        try:
            image_prompts.eyes_of(adapter, catalog)
        except Refused:
            continue
        return adapter
    return None


def of_drawn(one: DrawnHere, other: DrawnHere, share: float, prompt: str) -> GenerationRequest:
    """The first picture's request with as much of the second in it: its noise is moved towards the
    second's on the shortest way round (slerp), and both prompts are drawn, each with its share.
    Raises Refused where they have not the same model, or began with pictures.
    """
    first, second = one.request, other.request
    if first.model != second.model:
        raise Refused("blend_models", one=first.model, other=second.model)
    if any(request.enlargement or request.uploads for request in (first, second)):
        raise Refused("blend_began")
    if second.varied:
        raise Refused("blend_varied")
    return first.with_(
        prompt=prompt or _both(first.prompt, second.prompt, share),
        template=None,
        seed=one.seed,
        lineage=msgspec.to_builtins(_lineage(one)),
        variation_seed=other.seed,
        variation_strength=share,
        count=1,
    )


def _lineage(one: DrawnHere) -> tuple[Variation, ...]:
    """What the first picture's own noise was moved towards."""
    request = one.request
    if one.variation_seed is None:
        return request.lineage
    return (*request.lineage, Variation(one.variation_seed, request.variation_strength))


def _both(one: str, other: str, share: float) -> str:
    """Two prompts as A1111's AND has them, each with its weight."""
    if one == other or share <= 0:
        return one
    if share >= 1:
        return other
    if any(sign in text for text in (one, other) for sign in SIGNS):
        raise Refused("blend_prompts")
    return f"{one} :{1 - share:g} AND {other} :{share:g}"


def model_of(catalog: Catalog, name: str) -> ModelFile:
    """The checkpoint that blends. Raises Refused."""
    return catalog.get(ModelKind.CHECKPOINT, name)
