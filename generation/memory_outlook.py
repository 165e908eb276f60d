"""How a model will run on the machine that is there, before anybody asks for a picture of it."""

from functools import partial
from pathlib import Path

import msgspec
import psutil

from generation.assembly import Allows
from generation.families import family_of
from generation.memory_needs import parts_of, task_of
from generation.memory_notes import MemoryNotes, job_key, model_key
from generation.memory_plan import GIB, NoRoom, Plan, PlannedHelper, Room, beside, plan
from generation.memory_settings import BOUNDS, PINNED, RAM_RESERVE
from generation.messages import Ready, RuntimeSettings
from generation.models import ModelFile
from generation.request import GenerationRequest
from generation.rules import native_size


class Outlook:
    """Plans as the worker process would make them with nothing else loaded."""

    def __init__(self, settings: RuntimeSettings, ready: Ready, cache: Path) -> None:
        self._settings = settings
        self._ready = ready
        self._notes = MemoryNotes(cache)

    def of(
        self,
        model: ModelFile,
        request: GenerationRequest,
        helpers: tuple[PlannedHelper, ...] = (),
        held: int = 0,
    ) -> Plan | NoRoom:
        """How that request of a model of FAMILIES would be drawn, with what works beside it, and
        where another network in an ONNX file has so many bytes for good.
        """
        family, wide = family_of(model), self._wide
        precision = family.half if self._ready.precision == "float16" else self._ready.precision
        parts = self._notes.parts(model_key(model, precision))
        task = task_of(
            request,
            family,
            parts or parts_of(model, family, wide=wide),
            self._settings.batch_size,
            self._notes.measured(job_key(model, request, precision)),
            wide=wide,
            helpers=helpers,
        )
        room = self.room()
        if room.one_memory or self._ready.onnx_on_device:
            room = msgspec.structs.replace(room, device=max(0, room.device - held))
        if room.one_memory or not self._ready.onnx_on_device:
            room = msgspec.structs.replace(room, ram=max(0, room.ram - held))
        return plan(task, room, BOUNDS[self._settings.memory])

    def allows(self) -> Allows:
        """Whether memory allows a checkpoint with its parts, by what is free now, also later on."""
        return partial(self._allows, room=self.room())

    def _allows(self, model: ModelFile, room: Room) -> bool:
        """Whether the device has room for each text encoder in whole, and a picture of the native
        size can be drawn with all parts on it, or with text encoders that wait in main memory.
        """
        family, side = family_of(model), native_size(model)
        parts = parts_of(model, family, wide=self._wide)
        request = GenerationRequest(
            prompt="-",
            model=model.name,
            width=side,
            height=side,
            steps=family.steps,
            guidance_scale=family.guidance_scale,
            sampler=family.sampler,
            seed=0,
        )
        task = task_of(request, family, parts, 1, wide=self._wide)
        text = max((part.bytes for part in parts if part.role == "text"), default=0)
        if text + beside(task, "encode", 1, tiled=False) > room.device:
            return False
        bounds = BOUNDS[self._settings.memory]
        there = tuple(place for place in bounds.others if place == "device")
        aside = tuple(place for place in bounds.others if place != "device")
        ways = (
            msgspec.structs.replace(bounds, denoiser=there, others=there),
            msgspec.structs.replace(bounds, others=aside, disk=False),
        )
        return any(isinstance(plan(task, room, way), Plan) for way in ways if way.others)

    @property
    def _wide(self) -> bool:
        return self._ready.precision == "float32"

    def room(self) -> Room:
        """What the process had when it started, and what main memory has now."""
        memory, ready = psutil.virtual_memory(), self._ready
        ram = max(0, memory.available - RAM_RESERVE)
        if not ready.device.startswith("cuda"):
            return Room(device=memory.available, ram=ram, total=memory.total, one_memory=True)
        free = ready.memory_free - int(self._settings.vram_reserve * GIB)
        return Room(
            device=max(0, free),
            ram=ram,
            total=ready.memory_total,
            pinned=min(ram, int(memory.total * PINNED)),
        )
