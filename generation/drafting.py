"""Drafts and their way up: a picture in few steps by what on disk makes its model fast, and the
same drawn in full.
"""

from collections.abc import Collection, Iterator
from typing import Any, Final

import msgspec

from generation import hires_choice
from generation.assembly import is_whole
from generation.catalog import Catalog
from generation.families import FAMILIES, family_of
from generation.families.control import follows
from generation.families.fast import STEPS_MAX, FastWay, way_of
from generation.models import ModelFile, ModelKind
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.request_fields import LORAS_MAX
from generation.request_parts import InFull, LoraUse
from generation.rules import Rules, native_size, settings_of

DRAFT: Final = "draft"
HD: Final = "hd"
FULL: Final = "full"
"""Neither: for whoever has a preset with one of them."""
FEWER: Final = 0.5
"""Of the steps, where nothing makes a model fast."""
LEAST: Final = 6
SAMPLER, SCHEDULE = "DPM++ 2M", "Karras"
"""What comes far in few steps."""
CHOSEN: Final = ("steps", "guidance_scale", "sampler", "schedule")
OPTION: Final = {"guidance_scale": "guidance"}
"""What options are called that have another name than their field."""


def settled(
    request: GenerationRequest, given: Collection[str], catalog: Catalog, rules: Rules
) -> GenerationRequest:
    """The request as its mode says. `given` are the options that somebody gave, which hold; of a
    draft what it would be without is kept with it.
    """
    if request.mode == FULL:
        return request.with_(mode=None)
    if request.mode != DRAFT:
        return request
    model = catalog.get(ModelKind.CHECKPOINT, request.model)
    if model.family not in FAMILIES:
        return request
    changes = _fast(request, model, catalog, rules)
    said = {name for name in CHOSEN if OPTION.get(name, name) in given}
    changes = {name: value for name, value in changes.items() if name not in said}
    found = request.with_(**changes)
    if all(getattr(found, name) == getattr(request, name) for name in (*CHOSEN, "loras", "model")):
        return request
    added = found.loras[len(request.loras) :]
    full = InFull(
        model=request.model,
        steps=request.steps,
        guidance_scale=request.guidance_scale,
        sampler=request.sampler,
        schedule=request.schedule,
        lora=added[0].name if added else None,
    )
    # a model that draws in few steps has no other way
    alone = found.model == request.model and not added and _is_fast(model, rules)
    return found if alone else found.with_(full=msgspec.to_builtins(full))


def edited(
    request: GenerationRequest,
    given: Collection[str],
    before: GenerationRequest,
    catalog: Catalog,
    rules: Rules,
) -> GenerationRequest:
    """The request as its mode says, where that or its model is another than `before`; what was
    changed in it holds.
    """
    if (request.mode, request.model) == (before.mode, before.model):
        return request
    touched = {n for n in (*CHOSEN, "model") if getattr(request, n) != getattr(before, n)}
    if before.full is not None:
        whole = without(before)
        kept = {use.name for use in before.loras} - {use.name for use in whole.loras}
        request = request.with_(
            **{n: getattr(whole, n) for n in (*CHOSEN, "model") if n not in touched},
            full=None,
            loras=[msgspec.to_builtins(use) for use in request.loras if use.name not in kept],
        )
    request = settled(request, {*given, *(OPTION.get(n, n) for n in touched)}, catalog, rules)
    raised = request.mode == HD and before.mode != HD and "hires" not in given
    return with_hires(request, catalog, rules) if raised else request


def in_full(request: GenerationRequest, catalog: Catalog, rules: Rules) -> GenerationRequest:
    """A draft drawn in full, with a hires pass where it fits. Raises Refused for what is none."""
    if request.mode != DRAFT:
        raise Refused("hd_no_draft")
    found = without(request)
    larger = with_hires(found.with_(mode=HD), catalog, rules)
    if larger.with_(mode=DRAFT) == request:
        raise Refused("hd_nothing_more", model=request.model)
    return larger


def without(request: GenerationRequest) -> GenerationRequest:
    """What a draft would be if it were none."""
    full = request.full
    if full is None:
        return request.with_(mode=None)
    kept = [use for use in request.loras if use.name != full.lora]
    return request.with_(
        mode=None,
        full=None,
        model=full.model,
        steps=full.steps,
        guidance_scale=full.guidance_scale,
        sampler=full.sampler,
        schedule=full.schedule,
        loras=msgspec.to_builtins(kept),
    )


def with_hires(request: GenerationRequest, catalog: Catalog, rules: Rules) -> GenerationRequest:
    """With a hires pass if it has none and there is one that this machine may make."""
    if request.hires is not None:
        return request
    try:
        return hires_choice.added(request, catalog, rules)
    except Refused:
        return request


def _fast(
    request: GenerationRequest, model: ModelFile, catalog: Catalog, rules: Rules
) -> dict[str, Any]:
    """What is otherwise in a draft of it."""
    own = way_of(model, model.family)
    if _is_fast(model, rules):
        known = settings_of(model, rules).steps is not None or family_of(model).steps <= STEPS_MAX
        # its owner or its family says how it is drawn
        return {} if own is None or known else _changes(own)
    there = [catalog.find(ModelKind.LORA, use.name) for use in request.loras]
    for lora in filter(None, there):
        way = way_of(lora, model.family)
        if way is not None:
            return _changes(way)
    for lora, way in _loras(model, catalog):
        if len(request.loras) < LORAS_MAX:
            uses = (*request.loras, LoraUse(lora.name, way.weight))
            return _changes(way) | {"loras": msgspec.to_builtins(uses)}
    for sibling in _siblings(model, catalog, rules):
        return _of_sibling(sibling, rules) | {"model": sibling.name}
    steps = max(LEAST, round(request.steps * FEWER))
    fewer: dict[str, Any] = {"steps": min(request.steps, steps)}
    family = family_of(model)
    if family.prediction != "flow":
        fewer |= {"sampler": SAMPLER, "schedule": SCHEDULE}
    return fewer


def _changes(way: FastWay) -> dict[str, Any]:
    found = {"steps": way.steps, "guidance_scale": way.guidance_scale}
    said = {"sampler": way.sampler, "schedule": way.schedule}
    return found | {name: value for name, value in said.items() if value}


def _is_fast(model: ModelFile, rules: Rules) -> bool:
    """Whether a checkpoint draws in few steps anyway: as its family's versions say, its owner, or
    its name.
    """
    steps = settings_of(model, rules).steps
    if steps is not None:
        return steps <= STEPS_MAX
    return family_of(model).steps <= STEPS_MAX or way_of(model, model.family) is not None


def _loras(model: ModelFile, catalog: Catalog) -> Iterator[tuple[ModelFile, FastWay]]:
    """Those that make it fast, what is certainly of its family first."""
    fitting = [lora for lora in catalog.loras if lora.fits(model) and not follows(lora)]
    for lora in sorted(fitting, key=lambda one: (one.family != model.family, one.name)):
        way = way_of(lora, model.family)
        if way is not None:
            yield lora, way


def _siblings(model: ModelFile, catalog: Catalog, rules: Rules) -> Iterator[ModelFile]:
    """Checkpoints of its family and size that draw in few steps what it draws."""
    family = family_of(model)
    for other in catalog.checkpoints:
        if other.family != model.family or other.name == model.name or not is_whole(other):
            continue
        theirs = family_of(other)
        same = theirs.references == family.references and native_size(other) == native_size(model)
        if same and other.input_channels == model.input_channels and _is_fast(other, rules):
            yield other


def _of_sibling(sibling: ModelFile, rules: Rules) -> dict[str, Any]:
    """How a checkpoint is drawn with where nobody says: as its owner, its name or its family."""
    family, settings = family_of(sibling), settings_of(sibling, rules)
    way = way_of(sibling, sibling.family)
    if way is not None and settings.steps is None and family.steps > STEPS_MAX:
        return _changes(way)
    found: dict[str, Any] = {
        "steps": settings.steps or family.steps,
        "guidance_scale": family.guidance_scale
        if settings.guidance_scale is None
        else settings.guidance_scale,
        "sampler": settings.sampler or family.sampler,
    }
    schedule = settings.schedule or family.schedule
    return found | ({"schedule": schedule} if schedule else {})
