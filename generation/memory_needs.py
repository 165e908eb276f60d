"""What a job needs of memory, before anything is loaded: from files, families and measurements."""

import math
from collections.abc import Mapping
from typing import Final

import msgspec

from generation import hires, references
from generation.families.family import Family
from generation.memory_plan import Phase, Plan, PlannedHelper, PlannedPart, PlannedTask, Role
from generation.models import ModelFile
from generation.request import GenerationRequest

WORKSPACE: Final = 256 * 2**20
"""Bytes that libraries take for their own work on a graphics card."""
LOOSE: Final = 1.25
"""Times that an allocator takes of what is alive: what it holds between."""
MEASURED: Final = 1.08
"""The same of what was measured, which varies a little."""
TILE_PIXELS: Final = 512
"""Side of the tiles that a VAE works on where memory is short."""
UNDIVIDED: Final = 0.125
"""Of a part's bytes, what it needs while it is streamed, where its family does not say."""
QUANTISED: Final = {"fp8": 0.52, "int8": 0.52, "nf4": 0.31}
"""Of the bytes in half precision, what a part takes whose blocks are quantised: the rest stays."""
THRIFT: Final = 1.05
"""Times what was there: what a phase needs at least that has run out of it."""


CONTROLNET: Final = "controlnet."
"""How the parts of a job are named that are ControlNets, by their numbers."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes beside the weights that jobs of one model and size took in each phase; 0 where that is
    not known. Of one picture, as in PlannedTask.
    """

    encode: int = 0
    denoise: int = 0
    refine: int = 0
    decode: int = 0
    tiled: int = 0
    prepare: int = 0
    finish: int = 0
    fixed: int = 0


def role_of(name: str) -> Role:
    """Of a part as diffusers names it."""
    if name.startswith("text_encoder"):
        return "text"
    return "vae" if name == "vae" else "denoiser"


def parts_of(model: ModelFile, family: Family, *, wide: bool = False) -> tuple[PlannedPart, ...]:
    """The parts of a checkpoint in half precision, or `wide` in float32.

    Files that are smaller than their family's are taken as they are: other models of one family
    have as many weights, in fewer bits.
    """
    names = {row.file: row.part for row in family.encoders if row.file}
    apart = {names.get(key, key): file for key, file in model.parts.items()}
    half = family.whole_bytes
    own = {name: size for name, size in half.items() if name not in apart}
    share = min(1.0, model.size / sum(own.values())) if model.size and own else 1.0
    bytes_by_part = {name: int(size * share) for name, size in own.items()}
    for name, file in apart.items():
        size = file.size + sum(beside.size for beside in file.parts.values())
        bytes_by_part[name] = min(size, half.get(name, size)) or half.get(name, 0)
    small = {row.part for row in family.encoders if row.make == "clip"} | {"vae"}
    for name, size in bytes_by_part.items():
        quantised = name not in small and not apart.get(name, model).quantisation
        if quantised and model.quantise:
            bytes_by_part[name] = int(size * QUANTISED[model.quantise])
        elif wide:
            bytes_by_part[name] = 2 * size
    return tuple(part_of(name, size, family) for name, size in bytes_by_part.items())


def part_of(name: str, size: int, family: Family) -> PlannedPart:
    """A part of so many bytes; what streaming needs goes by its family."""
    whole = family.whole_bytes.get(name, 0)
    block, leaf = family.streamed.get(name, (0, 0))
    if not whole or not block:
        block, leaf = int(whole * UNDIVIDED), int(whole * UNDIVIDED / 2)
    share = size / whole if whole else 0.0
    return PlannedPart(
        name=name,
        role=role_of(name),
        bytes=size,
        block=int(block * share),
        leaf=int(leaf * share),
        reread=role_of(name) == "text" and family.denoiser == "transformer",
    )


def task_of(
    request: GenerationRequest,
    family: Family,
    parts: tuple[PlannedPart, ...],
    batch: int,
    measured: Measured | None = None,
    *,
    wide: bool = False,
    helpers: tuple[PlannedHelper, ...] = (),
) -> PlannedTask:
    """What a request needs, its parts as they are given; `batch` pictures at once at most."""
    steps, second = request.steps, request.hires_model
    if request.hires is not None:
        # it is larger than the first pass
        steps, request = steps + hires.second_steps(request), hires.second_pass(request)
    beside, width = family.beside, 2 if wide else 1
    rows = 2 if request.guidance_scale > 1 and family.guidance == "cfg" else 1
    shown = len(references.of(request, family))
    side = request.tile or max(request.width, request.height)
    seen = min(side, request.width) * min(side, request.height)
    pixels = request.width * request.height
    tile = min(TILE_PIXELS, request.width) * min(TILE_PIXELS, request.height)
    # with those that it edits, of which one that is drawn in tiles is shown so, too
    with_edited = seen + shown * (seen if request.tile else family.native_size**2)
    nets = sum(part.name.startswith(CONTROLNET) for part in parts)
    per_pixel = beside.denoise * with_edited + nets * beside.control * seen
    denoise = rows * (per_pixel + beside.denoise_fixed) * width * LOOSE
    known = measured or Measured()
    return PlannedTask(
        parts=parts,
        count=request.count,
        batch=batch,
        steps=steps,
        fixed=known.fixed or WORKSPACE,
        encode=known.encode or int(beside.encode * width * LOOSE),
        denoise=known.denoise or int(denoise),
        refine=known.refine or (int(denoise) if request.refiner or second else 0),
        decode=known.decode or int(beside.decode * min(pixels, seen) * width * LOOSE),
        helpers=helpers,
        prepare=known.prepare,
        finish=known.finish,
        tiled=known.tiled or int(beside.decode * min(pixels, tile) * width * LOOSE),
    )


def after_measuring(known: Measured, plan: Plan, peaks: Mapping[Phase, int]) -> Measured:
    """What is known once a plan was followed, by the device's bytes at most in each phase."""
    found: dict[str, int] = {}
    for phase, peak in peaks.items():
        weights = plan.weights(phase)
        weights += plan.needs(phase) - plan.weights(phase) - plan.beside(phase)
        beside = max(0, peak - weights - plan.task.fixed) * MEASURED
        if phase in ("denoise", "refine"):
            beside /= plan.batch
        found["tiled" if phase == "decode" and plan.tiled else phase] = math.ceil(beside) or 1
    return msgspec.structs.replace(known, **found)


def after_running_out(known: Measured, plan: Plan, phase: Phase | None) -> Measured:
    """What is known once a plan ran out of memory in a phase, or (None) while its parts were put in
    their places: it needs more than there was.
    """
    task, there = plan.task, plan.there
    if phase is None:
        return msgspec.structs.replace(known, fixed=task.fixed + _over(there, plan.peak))
    over = _over(there, plan.needs(phase))
    if phase == "decode":
        name = "tiled" if plan.tiled else "decode"
        return msgspec.structs.replace(known, **{name: getattr(task, name) + over})
    if phase in ("encode", "prepare", "finish"):
        return msgspec.structs.replace(known, **{phase: getattr(task, phase) + over})
    each = math.ceil(over / plan.batch)
    return msgspec.structs.replace(known, **{phase: getattr(task, phase) + each})


def _over(there: int, needed: int) -> int:
    return max(1, math.ceil(there * THRIFT) - needed)
