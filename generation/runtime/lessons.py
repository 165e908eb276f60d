"""What was learned of a model while it drew, so that no job learns it twice."""

from pathlib import Path
from typing import NamedTuple

import torch

from generation.messages import Generate
from generation.models import ModelFile


class Plan(NamedTuple):
    """How a job is drawn: so many pictures at once, and whether the VAE works on small tiles."""

    batch_size: int
    frugal: bool = False


class Lessons:
    """By model, and where size matters by size too; kept while the process lives.

    Files are known by path here: one that was replaced is most often of the same make.
    """

    def __init__(self) -> None:
        self._wider: dict[tuple[Path, ...], torch.dtype] = {}
        self._plans: dict[tuple[object, ...], Plan] = {}
        self._overflowing: set[object] = set()

    def wider(self, *models: ModelFile) -> torch.dtype | None:
        """In which precision denoisers must draw of which one alone overflows, or one of these
        together; None for the usual one.
        """
        together = tuple(model.path for model in models)
        known = (self._wider.get(key) for key in (*((path,) for path in together), together))
        return next((dtype for dtype in known if dtype is not None), None)

    def needs_wider(self, *models: ModelFile, dtype: torch.dtype) -> None:
        self._wider[tuple(model.path for model in models)] = dtype

    def plan(self, work: Generate, most: int) -> Plan:
        """What a job like this needed, which is at most `most` pictures at once."""
        learned = self._plans.get(_like(work), Plan(most))
        return learned._replace(batch_size=min(learned.batch_size, most))

    def needs(self, work: Generate, plan: Plan) -> None:
        self._plans[_like(work)] = plan

    def overflows(self, vae: object) -> bool:
        """Whether this VAE, by what its file is known by, can't decode in half precision."""
        return vae in self._overflowing

    def has_overflowed(self, vae: object) -> None:
        self._overflowing.add(vae)


def _like(work: Generate) -> tuple[object, ...]:
    """What takes as much memory."""
    request = work.request
    return (
        work.checkpoint.path,
        None if work.refiner is None else work.refiner.path,
        request.width,
        request.height,
        request.tile,
        request.init_picture is not None,
        len(work.controlnets),
        request.count,
    )
