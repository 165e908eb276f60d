"""What was learned of a model while it drew, so that no job learns it twice."""

from pathlib import Path

import torch

from generation.models import ModelFile


class Lessons:
    """By model; kept while the process lives. What was learned of memory is in `memory.py`.

    Files are known by path here: one that was replaced is most often of the same make.
    """

    def __init__(self) -> None:
        self._wider: dict[tuple[Path, ...], torch.dtype] = {}
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

    def overflows(self, vae: object) -> bool:
        """Whether this VAE, by what its file is known by, can't decode in half precision."""
        return vae in self._overflowing

    def has_overflowed(self, vae: object) -> None:
        self._overflowing.add(vae)
