"""Plans of memory for the jobs of this process: made by what is free, followed, learned from."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import structlog
import torch

from generation.memory_helpers import helpers_of
from generation.memory_needs import (
    CONTROLNET,
    Measured,
    after_measuring,
    after_running_out,
    role_of,
    task_of,
)
from generation.memory_notes import MemoryNotes, job_key, model_key
from generation.memory_plan import (
    MemoryBounds,
    NoRoom,
    PartPlace,
    Phase,
    Plan,
    PlannedPart,
    PlannedTask,
    Role,
    plan,
)
from generation.memory_settings import BOUNDS
from generation.memory_words import in_words, why
from generation.messages import Generate, RuntimeSettings
from generation.runtime.checkpoints import Checkpoint
from generation.runtime.device import name_of_dtype
from generation.runtime.job_models import JobModels
from generation.runtime.onnx_session import onnx_on
from generation.runtime.parts import Parts
from generation.runtime.streaming import need_of, size_of

log = structlog.get_logger(__name__)


WHOLE: Final[tuple[PartPlace, ...]] = ("device", "aside")
"""Places of a part that is on the device as a whole while it works."""
Rung = tuple[object, ...]
"""What sets a plan apart from others of the same job."""


def rung_of(found: Plan) -> Rung:
    """Two plans with the same are the same to the device."""
    return (found.placings, found.batch, found.tiled, found.helpers_leave)


class MemoryWish(NamedTuple):
    """How many pictures at once at most; `tiled` where they are drawn again, as they were; and what
    has run out of memory for this job, in which phase.
    """

    batch: int
    tiled: bool | None = None
    tried: Mapping[Rung, Phase | None] = {}


class Meter:
    """In which phase a job is, and what each has taken of the device."""

    def __init__(self, device: torch.device) -> None:
        self.phase: Phase | None = None
        self.peaks: dict[Phase, int] = {}
        """Bytes at most in each phase that the present try has ended; of other models, too."""
        self.peak = 0
        """Of all phases and tries."""
        self._measures = device.type == "cuda"

    def begin(self) -> None:
        """Another try begins."""
        self.phase = None
        self.peaks.clear()

    @contextlib.contextmanager
    def during(self, phase: Phase) -> Iterator[None]:
        """The phase lasts as long, and goes on being it where that ends in an error."""
        self.enter(phase)
        yield
        self._note()
        self.phase = None

    @contextlib.contextmanager
    def within(self, phase: Phase) -> Iterator[None]:
        """A phase within another one, which goes on after it."""
        before = self.phase
        self.enter(phase)
        yield
        self._note()
        self.phase = None
        if before is not None:
            self.enter(before)

    def enter(self, phase: Phase) -> None:
        """Begin a phase, at the end of another where one is."""
        self._note()
        self.phase = phase
        if self._measures:
            torch.cuda.reset_peak_memory_stats()

    def _note(self) -> None:
        if self.phase is not None and self._measures:
            peak = torch.cuda.max_memory_allocated()
            self.peaks[self.phase] = max(self.peaks.get(self.phase, 0), peak)
            self.peak = max(self.peak, peak)


class Planner:
    """Plans jobs, and keeps what they took."""

    def __init__(self, settings: RuntimeSettings, parts: Parts, folder: Path) -> None:
        self._notes = MemoryNotes(folder)
        self._parts = parts
        self._bounds = BOUNDS[settings.memory]
        self._learned: dict[str, Measured] = {}
        """By a job's key: on a processor nothing is measured, and it lasts as long as this does."""
        self._said: dict[str, str] = {}

    def plan(self, work: Generate, job: JobModels, wish: MemoryWish) -> Plan:
        """How to draw, by what is free now; what needs least where nothing fits."""
        named = list(named_parts(job))
        task = self._task(work, job, named, wish)
        helpers = self._parts.loaded((*work.seeing, *work.finishing.files))
        room = self._parts.room((*(part for _, _, part in named), *helpers))
        # what LoRAs are merged into is not in its file
        merged = any(self._parts.merger.merged(part) for _, _, part in named)
        bounds = self._within(wish)
        if work.loras or merged:
            bounds = msgspec.structs.replace(bounds, disk=False)
        make = job.base.architecture.control
        if job.nets and make is not None and make.lends:
            whole = tuple(place for place in bounds.denoiser if place in WHOLE) or WHOLE[-1:]
            bounds = msgspec.structs.replace(bounds, denoiser=whole)
        found = plan(task, room, bounds)
        while isinstance(found, Plan) and rung_of(found) in wish.tried:
            # more is free than when it was tried: what it needs is known to be more still
            self.ran_out(work, found, wish.tried[rung_of(found)])
            found = plan(self._task(work, job, named, wish), room, bounds)
        chosen = found.least if isinstance(found, NoRoom) else found
        said = in_words(chosen) + ("" if found is chosen else f" ({in_words(found)})")
        if self._said.get(work.checkpoint.name) != said:
            self._said[work.checkpoint.name] = said
            log.info("memory", model=work.checkpoint.name, plan=said, why=why(chosen))
        return chosen

    def follow(self, found: Plan, job: JobModels) -> None:
        """Put the job's parts in their places, once other models have made room."""
        self._parts.follow(found, ((name, part) for name, _, part in named_parts(job)))
        for model in job.checkpoints:
            self._parts.look(model)

    def ran_out(self, work: Generate, found: Plan, phase: Phase | None) -> None:
        """Learn that a plan has run out of memory in that phase."""
        known = after_running_out(self._known(work), found, phase)
        self._learn(work, known, found.room.one_memory)

    def went_well(self, work: Generate, found: Plan, peaks: dict[Phase, int]) -> None:
        """Learn what a job has taken."""
        if not peaks:
            return
        gone = {*found.to_ram, *found.unloaded}
        others = sum(one.device for one in found.room.kept if one.name not in gone)
        own = {phase: peak - others for phase, peak in peaks.items()}
        self._learn(work, after_measuring(self._known(work), found, own), one_memory=False)

    def _known(self, work: Generate) -> Measured:
        key = self._key(work)
        return self._learned.get(key) or self._notes.measured(key) or Measured()

    def _learn(self, work: Generate, known: Measured, one_memory: bool) -> None:
        key = self._key(work)
        self._learned[key] = known
        if not one_memory:
            self._notes.measure(key, known)

    def _key(self, work: Generate) -> str:
        return job_key(work.checkpoint, work.request, self._precision)

    @property
    def _precision(self) -> str:
        return name_of_dtype(self._parts.dtype)

    def _task(
        self,
        work: Generate,
        job: JobModels,
        named: list[tuple[str, Role, Any]],
        wish: MemoryWish,
    ) -> PlannedTask:
        parts = tuple(_measured(name, role, part) for name, role, part in named)
        if job.alone and not job.nets and work.vae is None:
            self._notes.load(model_key(work.checkpoint, self._precision), parts)
        task = task_of(
            work.request,
            job.base.family,
            parts,
            wish.batch,
            self._known(work),
            wide=self._parts.dtype == torch.float32,
            helpers=helpers_of(work, onnx_on_device=onnx_on(self._parts.device)),
        )
        return task if not job.alone else msgspec.structs.replace(task, refine=0)

    def _within(self, wish: MemoryWish) -> MemoryBounds:
        if wish.tiled is None:
            return self._bounds
        return msgspec.structs.replace(self._bounds, tiled=(wish.tiled,), batches=(wish.batch,))


def named_parts(job: JobModels) -> Iterator[tuple[str, Role, Any]]:
    """Every part of a job once, by its name; those of a refiner, too."""
    seen: set[int] = set()
    for number, model in enumerate(job.checkpoints):
        for name, role, part in _parts_of(model):
            if id(part) not in seen:
                seen.add(id(part))
                second = number and role == "denoiser"
                prefix = f"refiner{number if number > 1 else ''}." if number else ""
                yield prefix + name, "refiner" if second else role, part
    for number, net in enumerate(job.nets):
        if id(net) not in seen:
            seen.add(id(net))
            yield f"{CONTROLNET}{number}", "denoiser", net


def _parts_of(model: Checkpoint) -> Iterator[tuple[str, Role, Any]]:
    half = model.family.bytes_at_half
    yield next(name for name in half if role_of(name) == "denoiser"), "denoiser", model.denoiser
    yield "vae", "vae", model.vae
    for encoder in model.encoders:
        yield encoder.row.part, "text", encoder.module


def _measured(name: str, role: Role, part: Any) -> PlannedPart:
    """A part as it is in memory, or was when it was loaded."""
    if not hasattr(part, "measured"):
        blocks, leaves = need_of(part)
        part.measured = PlannedPart(
            name=name,
            role=role,
            bytes=size_of(part),
            block=blocks,
            leaf=leaves,
            reread=hasattr(part, "reload"),
        )
    found: PlannedPart = part.measured
    return msgspec.structs.replace(found, name=name, role=role)
