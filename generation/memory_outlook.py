"""How a model will run on the machine that is there, before anybody asks for a picture of it."""

from pathlib import Path

import psutil

from generation.families import family_of
from generation.memory_needs import parts_of, task_of
from generation.memory_notes import MemoryNotes, job_key, model_key
from generation.memory_plan import GIB, NoRoom, Plan, Room, plan
from generation.memory_settings import BOUNDS, PINNED, RAM_RESERVE
from generation.messages import Ready, RuntimeSettings
from generation.models import ModelFile
from generation.request import GenerationRequest


class Outlook:
    """Plans as the worker process would make them with nothing else loaded."""

    def __init__(self, settings: RuntimeSettings, ready: Ready, cache: Path) -> None:
        self._settings = settings
        self._ready = ready
        self._notes = MemoryNotes(cache)

    def of(self, model: ModelFile, request: GenerationRequest) -> Plan | NoRoom:
        """How that request of a model of FAMILIES would be drawn."""
        family, precision = family_of(model), self._ready.precision
        if precision == "float16":
            precision = family.half
        wide = precision == "float32"
        parts = self._notes.parts(model_key(model, precision))
        task = task_of(
            request,
            family,
            parts or parts_of(model, family, wide=wide),
            self._settings.batch_size,
            self._notes.measured(job_key(model, request, precision)),
            wide=wide,
        )
        return plan(task, self.room(), BOUNDS[self._settings.memory])

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
