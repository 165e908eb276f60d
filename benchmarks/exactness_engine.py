"""The engine that `exactness` measures: the project's own worker, in this process."""

import asyncio
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from PIL import Image

from generation.catalog import Catalog
from generation.messages import Configure, Failed, Generate, Picture, RuntimeSettings
from generation.models import ModelFile, ModelKind
from generation.request import GenerationRequest
from generation.runtime.server import Server

SEED: Final = 7
Files = Callable[[ModelKind, str], ModelFile]
"""The file of that kind and name."""


def catalogued(folder: Path) -> Files:
    """All that lies in a folder of models."""
    catalog = Catalog([folder])
    asyncio.run(catalog.scan())
    assert not catalog.problems, catalog.problems
    return catalog.get


class Engine:
    """The project's own worker, in this process, with a checkpoint, a LoRA and a ControlNet."""

    def __init__(self, folder: Path, side: int, steps: int, get: Files | None = None) -> None:
        """Draws with what lies in the folder, or with what it gets."""
        self.folder = folder
        self.get = get or catalogued(folder / "models")
        self._pictures: list[Picture] = []
        self.failed: Failed | None = None
        inbox: Any = type("Inbox", (), {"is_cancelled": lambda self, job: False})()
        outbox: Any = type("Outbox", (), {"send": lambda _, message: self._take(message)})()
        settings = RuntimeSettings(
            device="cpu", precision="float32", batch_size=1, preview_every=0, low_priority=False
        )
        self.server = Server(Configure(settings, folder / "cache"), outbox, inbox)
        y, x = np.mgrid[0:side, 0:side] * (255 / side)
        shown = np.stack([x, y, 128 + 90 * np.sin(x * y / 900)], axis=-1).astype(np.uint8)
        self.image = Image.fromarray(shown)
        file = io.BytesIO()
        self.image.save(file, "PNG")
        self.picture = hashlib.sha256(file.getvalue()).hexdigest()
        self._files = {self.picture: file.getvalue()}
        self._usual: dict[str, Any] = {
            "prompt": "a red fox in the snow",
            "negative_prompt": "blurry",
            "model": "model",
            "width": side,
            "height": side,
            "steps": steps,
            "guidance_scale": 5.0,
            "sampler": "Euler",
            "schedule": "Uniform",
            "seed": SEED,
        }

    def _take(self, message: Any) -> None:
        if isinstance(message, Picture):
            self._pictures.append(message)
        if isinstance(message, Failed):
            self.failed = message

    def request(self, changes: dict[str, Any]) -> GenerationRequest:
        return msgspec.convert(self._usual | changes, GenerationRequest)

    def draw(self, request: GenerationRequest) -> list[np.ndarray[Any, Any]]:
        self._pictures, self.failed = [], None
        get = self.get
        checkpoint = get(ModelKind.CHECKPOINT, request.model)
        work = Generate(
            "job",
            request,
            checkpoint,
            tuple(get(ModelKind.LORA, use.name).made_for(checkpoint) for use in request.loras),
            tuple(
                get(ModelKind.CONTROLNET, use.name).made_for(checkpoint) for use in request.controls
            ),
            self._files,
        )
        self.server.run(work)
        assert self.failed is None, self.failed
        return [np.asarray(Image.open(io.BytesIO(p.file)).convert("RGB")) for p in self._pictures]
