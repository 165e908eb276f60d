"""A catalogue of models that need not lie on disk."""

from pathlib import Path
from typing import Any

from generation.catalog import Catalog, Models
from generation.models import ModelFile, ModelKind


def a_model(name: str, *, kind: ModelKind = ModelKind.CHECKPOINT, **more: Any) -> ModelFile:
    """A model of that name; Stable Diffusion 1 unless `more` says otherwise."""
    return ModelFile(kind=kind, name=name, **{"path": Path(name), "family": "sd1", **more})


class FixedCatalog(Catalog):
    """A catalogue that reads no folder."""

    def __init__(self, models: tuple[ModelFile, ...]) -> None:
        super().__init__(())
        self._models = Models(models)
        self._ready.set()


def a_catalog(*models: ModelFile) -> Catalog:
    """These models and no others."""
    return FixedCatalog(models)
