"""A server in this process that draws with tiny models of a family made of parts."""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from generation.messages import Configure, Failed, Generate, Picture
from generation.models import ModelFile, ModelKind
from generation.runtime.server import Server
from tests.fixtures.requests import a_request
from tests.unit.generation.runtime.ends import SETTINGS, Ends

Pixels = np.ndarray[Any, Any]
WIDTH, HEIGHT, STEPS = 96, 64, 2
TOLD = (
    *("loras", "pictures", "references", "edited", "controlnets", "annotators", "adapters"),
    *("eyes", "enlargement", "segmenter"),
)
"""What a job is told beside its request."""
BOUND = 0.05
"""Of 255: the mean difference to a reference's picture."""


class Drawing:
    """Draws what is asked for, by Euler over the Simple schedule where nothing else is said."""

    def __init__(self, cache: Path) -> None:
        self.ends = Ends()
        self.server = Server(Configure(SETTINGS, cache), self.ends, self.ends)  # type: ignore[arg-type]

    def draw(self, model: ModelFile, **changes: Any) -> Pixels:
        """The picture's pixels."""
        return pixels_of(self.answer(model, **changes))

    def answer(self, model: ModelFile, **changes: Any) -> Picture | Failed:
        """What comes of a request."""
        self.ends.sent.clear()
        work = {name: changes.pop(name) for name in TOLD if name in changes}
        usual = {"width": WIDTH, "height": HEIGHT, "steps": STEPS, "sampler": "Euler"}
        request = a_request(model=model.name, **{"schedule": "Simple", **usual, **changes})
        if "loras" in work:
            names = [{"name": file.name} for file in work["loras"]]
            request = request.with_(loras=names)
        self.server.run(Generate("1", request, model, **work))
        found: Picture | Failed = (self.ends.of(Failed) or self.ends.of(Picture))[0]
        return found


def checkpoint(path: Path, family: str, **fields: Any) -> ModelFile:
    """A file or folder as the catalogue would have it."""
    return ModelFile(kind=ModelKind.CHECKPOINT, name=path.stem, path=path, family=family, **fields)


def pixels_of(answer: Picture | Failed) -> Pixels:
    """Those of a finished picture, (height, width, 3), from 0 to 255."""
    assert isinstance(answer, Picture), answer
    with Image.open(io.BytesIO(answer.file)) as image:
        return np.asarray(image.convert("RGB")).astype(float)


def start_picture() -> tuple[Image.Image, dict[str, Any]]:
    """A grey ramp, and what a request that begins with it is given."""
    start = Image.linear_gradient("L").resize((WIDTH, HEIGHT)).convert("RGB")
    file = io.BytesIO()
    start.save(file, "PNG")
    sha256 = hashlib.sha256(file.getvalue()).hexdigest()
    return start, {"pictures": {sha256: file.getvalue()}, "init_picture": sha256}


def apart(one: Pixels, other: Pixels) -> float:
    """The mean difference of two pictures, of 255."""
    return float(np.abs(one - other).mean())
