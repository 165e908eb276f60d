"""One job that makes a finished picture larger, by an upscaler alone."""

import time
from collections.abc import Callable
from concurrent.futures import Future

import structlog
import torch
from PIL import Image

from generation.enlarged_sizes import plainly
from generation.enlarging import NO_UPSCALER
from generation.messages import Enlarge
from generation.models import ModelFile
from generation.numerics import Numerics
from generation.request_parts import Enlargement
from generation.runtime import control_pictures, upscaling
from generation.runtime.damage import blame_upscaler
from generation.runtime.device import name_of, name_of_dtype
from generation.runtime.faults import NotFiniteError
from generation.runtime.finishing import Finisher
from generation.runtime.latents import open_layers
from generation.runtime.parts import Parts
from generation.runtime.report import JobReport, Send

log = structlog.get_logger(__name__)

STEPS = 100
"""In which its progress is told."""


class Enlarging(JobReport):
    """What the job has in hand."""

    def __init__(
        self,
        work: Enlarge,
        parts: Parts,
        send: Send,
        *,
        cancelled: Callable[[], bool],
        hashes: Future[dict[str, str]],
        unsafe: Callable[[Image.Image], float | None],
    ) -> None:
        super().__init__(work, send, steps=STEPS, cancelled=cancelled, hashes=hashes, unsafe=unsafe)
        self._work = work
        self._parts = parts
        self._finisher = Finisher(parts, work.finishing)

    def draw(self) -> None:
        """Make the picture. Raises JobError, NotFiniteError, and what tells that memory ran out."""
        made = self._work.request.enlargement
        assert made is not None
        self._stage("loading", 0)
        self._stop_if_cancelled()

        def after_tile(share: float) -> None:
            self.loaded_at = self.loaded_at or time.monotonic()
            self._stop_if_cancelled()
            self._stage("enlarging", share)

        picture = enlarged(
            self._parts, made, self._work.upscaler, self._work.pictures[made.picture], after_tile
        )

        if made.control is not None:
            size = (made.width, made.height)
            shown = picture.convert("RGB")
            told = self._work.annotators
            picture = control_pictures.prepared(made.control, shown, size, told, self._parts)
            self.numerics = self._computed()
            self._save(0, picture, self.numerics)
            return

        def after(stage: str, share: float) -> None:
            self._stop_if_cancelled()
            self._stage(stage, share)

        picture = self._finisher.finish(0, picture, after)
        _, kept = open_layers(self._work.pictures[made.picture])
        if kept is not None and picture.mode == "RGB":
            # what was transparent stays so
            picture.putalpha(kept.resize(picture.size, Image.Resampling.LANCZOS))
        self.faceless = tuple(sorted(self._finisher.faceless))
        self.numerics = self._computed()
        self._save(0, picture, self.numerics)

    def _computed(self) -> Numerics:
        device, precision = self._parts.device, name_of_dtype(self._parts.dtype)
        return Numerics(
            batch_size=1,
            precision=precision,
            vae_precision=precision,
            device=name_of(device),
            threads=torch.get_num_threads() if device.type == "cpu" else 0,
        )


def enlarged(
    parts: Parts,
    made: Enlargement,
    file: ModelFile | None,
    data: bytes,
    after_tile: Callable[[float], None],
) -> Image.Image:
    """The picture in the bytes `data`, enlarged."""
    picture, _ = open_layers(data)
    if made.upscaler == NO_UPSCALER:
        return picture
    size = (made.width, made.height)
    return by_upscaler(parts, made.upscaler, file, picture, size, after_tile)


def by_upscaler(
    parts: Parts,
    name: str,
    file: ModelFile | None,
    picture: Image.Image,
    size: tuple[int, int],
    after_tile: Callable[[float], None],
) -> Image.Image:
    """The picture at `size` in pixels, by the upscaler of that name; a network that overflows in
    half precision is tried once more in float32.
    """
    if file is None:
        after_tile(0.0)
        return plainly(name, picture, size)
    network = parts.upscaler(file)
    after_tile(0.0)
    try:
        with parts.residency.at_work(network):
            return upscaling.enlarge(network, picture, size, parts.device, after_tile)
    except NotFiniteError:
        blame_upscaler(file, network)
    log.warning("the upscaler overflows: once more in float32", upscaler=file.name)
    with parts.in_precision(torch.float32):
        network = parts.upscaler(file)
        with parts.residency.at_work(network):
            return upscaling.enlarge(network, picture, size, parts.device, after_tile)
