"""Which of several files becomes a part of a model, by the memory that the engine finds."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import psutil
import pytest

from bot.app import start_engines
from bot.cli.doctor.running import how_models_run
from bot.config import ONLY_WORKER, Config, ModelsSettings, StorageSettings
from generation.catalog import Catalog
from generation.engines.fake import READY, FakeEngine
from generation.memory_plan import GIB
from generation.messages import Ready
from generation.models import ModelKind
from generation.worker_pool import WorkerPool
from tests.fixtures import headers

FILES = {
    "diffusion_models/flux-dev.safetensors": "flux-alone",
    "text_encoders/clip_l.safetensors": "clip-l",
    "text_encoders/t5xxl_fp16.safetensors": "t5xxl",
    "text_encoders/t5xxl_fp8.safetensors": "t5xxl-fp8",
    "vae/ae.safetensors": "vae-ae",
}


class Card(FakeEngine):
    """A graphics card of so many GiB, all of it free."""

    def __init__(self, gib: float) -> None:
        super().__init__()
        self.told = card(gib)

    async def start(self) -> Ready:
        self._ready = self.told
        return self.told


NO_JOBS: Any = None


def card(gib: float) -> Ready:
    return msgspec.structs.replace(
        READY,
        device="cuda:0",
        precision="float16",
        memory_total=int(gib * GIB),
        memory_free=int(gib * GIB),
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Flux.1 with two T5: headers of real files, whose weights are a hole."""
    folder = tmp_path_factory.mktemp("models")
    known = {header.name: header for header in headers.read()}
    for file, header in FILES.items():
        known[header].write(folder / file)
    return folder


@pytest.fixture
def config(models: Path, tmp_path: Path) -> Config:
    return Config(
        file=tmp_path / "config.toml",
        models=ModelsSettings(folders=(models,)),
        storage=StorageSettings(folder=tmp_path / "data"),
    )


def with_ram(monkeypatch: pytest.MonkeyPatch, gib: float) -> None:
    there = SimpleNamespace(available=int(gib * GIB), total=int(gib * GIB))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: there)


@pytest.mark.parametrize(("gib", "t5"), [(8, "t5xxl_fp8"), (24, "t5xxl_fp16")])
async def test_memory_decides_among_several_parts(
    config: Config, monkeypatch: pytest.MonkeyPatch, gib: float, t5: str
) -> None:
    """By the figures that doctor goes by, at once and in later scans."""
    with_ram(monkeypatch, 60)
    engine = Card(gib)
    catalog = Catalog(config.model_folders, settings=config.models.settings)
    workers = WorkerPool(NO_JOBS, catalog)
    workers.add(ONLY_WORKER, engine)
    studio: Any = SimpleNamespace(config=config, catalog=catalog, workers=workers)
    await catalog.scan()
    assert catalog.get(ModelKind.CHECKPOINT, "flux-dev").parts["t5xxl"].name == "t5xxl_fp16"
    await start_engines(studio)
    assert catalog.get(ModelKind.CHECKPOINT, "flux-dev").parts["t5xxl"].name == t5
    await catalog.scan()
    assert catalog.get(ModelKind.CHECKPOINT, "flux-dev").parts["t5xxl"].name == t5


async def test_doctor_says_which_are_taken(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    with_ram(monkeypatch, 60)
    said = {
        gib: next(
            line.found
            for line in [one async for one in how_models_run(config, config.worker, card(gib))]
            if line.found.startswith("flux-dev")
        )
        for gib in (8, 24)
    }
    assert said[8].startswith("flux-dev with clip_l, t5xxl_fp8, ae: ")
    assert said[24].startswith("flux-dev with clip_l, t5xxl_fp16, ae: ")
