"""What was measured of models while they drew, kept over restarts: sizes of parts, peaks."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from generation.kept_file import KeptFile
from generation.memory_needs import Measured
from generation.memory_plan import PlannedPart
from generation.models import ModelFile
from generation.preprocessors import PREPROCESSORS
from generation.request import GenerationRequest

NAME: Final = "memory.json"
"""In the cache folder."""
NEEDING: Final = frozenset(row.name for row in PREPROCESSORS.values() if row.needs)
"""Preprocessors that have a network."""
ENTRIES_MAX: Final = 2000
"""Of models and sizes; the oldest go."""


class MemoryNotes:
    """By model and precision, and where size matters by size too."""

    def __init__(self, folder: Path) -> None:
        self._kept = KeptFile(folder / NAME)

    def measured(self, key: str) -> Measured | None:
        """What jobs like this one took beside the weights."""
        found: Measured | None = _read(self._kept.found.get(key), Measured)
        return found

    def measure(self, key: str, measured: Measured) -> None:
        """Note it for the next job like this one."""
        self._write(key, measured)

    def parts(self, key: str) -> tuple[PlannedPart, ...]:
        """The parts of a model as they were in memory; none where it was never loaded."""
        return _read(self._kept.found.get(key), tuple[PlannedPart, ...]) or ()

    def load(self, key: str, parts: Sequence[PlannedPart]) -> None:
        """Note the parts of a model that was loaded."""
        if self.parts(key) != tuple(parts):
            self._write(key, tuple(parts))

    def _write(self, key: str, value: object) -> None:
        self._kept.found.pop(key, None)
        self._kept.found[key] = msgspec.to_builtins(value)
        while len(self._kept.found) > ENTRIES_MAX:
            del self._kept.found[next(iter(self._kept.found))]
        self._kept.save()


def model_key(model: ModelFile, precision: str) -> str:
    """What tells a model's weights in memory from others'."""
    apart = [f"{name}={file.path.name}:{file.size}" for name, file in sorted(model.parts.items())]
    return "|".join((model.path.name, str(model.size), precision, model.quantise, *apart))


def job_key(model: ModelFile, request: GenerationRequest, precision: str) -> str:
    """What takes as much memory, picture for picture."""
    return "|".join(
        (
            model_key(model, precision),
            "x".join(map(str, request.drawn_size)),
            f"tile {request.hires_tile or request.tile}",
            f"{len(request.controls)} controls",
            "guided" if request.guidance_scale > 1 else "unguided",
            request.refiner or "",
            *([f"hires {request.hires_model or ''}"] if request.hires is not None else []),
            f"{len(request.shown)} pictures",
            *_helpers(request),
        )
    )


def _helpers(request: GenerationRequest) -> Iterator[str]:
    """What else works for it, before the drawing and after."""
    yield from sorted({use.preprocessor for use in request.controls} & NEEDING)
    yield from sorted({prompt.name for prompt in request.image_prompts})
    yield from (f"masked by {request.mask_model}",) if request.mask_words else ()
    faces = request.faces_wanted
    yield from () if faces is None else (f"faces {faces.model}",)
    yield from (f"cutout {request.cutout_wanted}",) if request.cutout_wanted else ()


def _read(value: object, type_: Any) -> Any:
    try:
        return None if value is None else msgspec.convert(value, type_)
    except msgspec.ValidationError:
        return None  # of another version
