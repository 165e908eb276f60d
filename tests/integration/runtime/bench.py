"""The real worker process with its catalogue, for tests to draw with."""

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops

from generation import describing, embedding_uses, enlarging
from generation.catalog import Catalog
from generation.description import Description
from generation.engines.process import ProcessEngine
from generation.messages import (
    Describe,
    Described,
    EngineWork,
    Enlarge,
    Failed,
    Finished,
    Generate,
    Picture,
    Preview,
    Progress,
)
from generation.models import ModelFile, ModelKind
from generation.request import GenerationRequest
from tests.fixtures.requests import a_request

SHIPPED = Path("models")
TOLERANCE = 2
"""Of 255: batches add up in another order than single pictures."""


@dataclass
class Made:
    """What came of a job."""

    request: GenerationRequest
    progress: list[Progress] = field(default_factory=list)
    previews: list[Preview] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    description: Description | None = None
    finished: Finished | None = None
    failed: Failed | None = None

    @property
    def pixels(self) -> list[str]:
        return [picture.pixels_sha256 for picture in self.pictures]

    def image(self, index: int = 0) -> Image.Image:
        return Image.open(io.BytesIO(self.pictures[index].file)).convert("RGB")


class Bench:
    """An engine with its catalogue; tests share it, for importing torch takes seconds."""

    def __init__(self, engine: ProcessEngine, catalog: Catalog, folder: Path) -> None:
        self.engine = engine
        self.catalog = catalog
        self.folder = folder
        self.jobs = 0

    async def make(self, model: str = "tiny", cancel_at: int = 0, **changes: Any) -> Made:
        pictures = changes.pop("pictures", {})
        request = small(model=model, **changes)
        self.jobs += 1
        job = str(self.jobs)
        made = Made(request)
        async for event in self.engine.generate(self.work(job, request, pictures)):
            match event:
                case Progress():
                    made.progress.append(event)
                    if cancel_at and event.step >= cancel_at:
                        await self.engine.cancel(job)
                case Preview():
                    made.previews.append(event)
                case Picture():
                    made.pictures.append(event)
                case Described():
                    made.description = event.description
                case Finished():
                    made.finished = event
                case Failed():
                    made.failed = event
        return made

    def work(self, job: str, request: GenerationRequest, pictures: dict[str, bytes]) -> EngineWork:
        if request.describing is not None:
            readers = describing.files_of(request.describing, self.catalog)
            return Describe(job, request, *readers, pictures)
        enlargement, upscaler = request.enlargement, None
        if enlargement is not None:
            upscaler = enlarging.file_of(enlargement, self.catalog)
            if request.only_enlarges:
                return Enlarge(job, request, upscaler, pictures)
            request = enlarging.second_pass(request)
        checkpoint = self.catalog.get(ModelKind.CHECKPOINT, request.model)

        def get(kind: ModelKind, name: str) -> ModelFile:
            return self.catalog.get(kind, name).made_for(checkpoint)

        return Generate(
            job,
            request,
            checkpoint,
            tuple(get(ModelKind.LORA, use.name) for use in request.loras),
            tuple(get(ModelKind.CONTROLNET, use.name) for use in request.controls),
            pictures,
            get(ModelKind.VAE, request.vae) if request.vae is not None else None,
            None
            if request.refiner is None
            else self.catalog.get(ModelKind.CHECKPOINT, request.refiner),
            embedding_uses.of(request, checkpoint, self.catalog),
            enlargement=enlargement,
            upscaler=upscaler,
        )


def small(**changes: Any) -> GenerationRequest:
    return a_request(**{"width": 64, "height": 64, "steps": 3, **changes})


def upload(colour: str, size: tuple[int, int] = (64, 64)) -> tuple[str, dict[str, bytes]]:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    sha256 = hashlib.sha256(file.getvalue()).hexdigest()
    return sha256, {sha256: file.getvalue()}


def difference(one: Image.Image, other: Image.Image) -> int:
    """The largest difference of any channel of any pixel."""
    return max(ImageChops.difference(one, other).tobytes())
