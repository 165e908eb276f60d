"""The worker's parts in this process: torch and diffusers with all that they warn of."""

from pathlib import Path

import pytest

from generation.models import ModelFile, ModelKind
from tests.fixtures import models


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    """A tiny Stable Diffusion 1 model."""
    folder = models.tiny_stable_diffusion(tmp_path_factory.mktemp("models") / "tiny")
    return checkpoint(folder)


def checkpoint(folder: Path) -> ModelFile:
    return ModelFile(kind=ModelKind.CHECKPOINT, name=folder.name, path=folder, family="sd1")
