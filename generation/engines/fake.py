"""An engine without models: for tests of everything around it, and to see the bot without a GPU."""

import asyncio
import colorsys
import io
import random
from collections.abc import AsyncGenerator, Sequence
from typing import Literal

import msgspec
from PIL import Image, ImageDraw

from generation.description import Description, SeenTag
from generation.messages import (
    ControlSeen,
    Describe,
    Described,
    EngineEvent,
    EngineWork,
    Enlarge,
    Failed,
    Finished,
    Generate,
    Picture,
    Preview,
    Progress,
    Ready,
)
from generation.numerics import Numerics
from generation.picture_encoding import encoded
from generation.request import GenerationRequest

READY = Ready(
    device="fake",
    device_name="no device",
    memory_total=0,
    precision="float32",
    versions={"darkroom": "fake"},
)
FILE_HASH = "0" * 64
SEEN = Description(
    tags=(SeenTag("hatsune_miku", 0.97, character=True), SeenTag("red_apple_(fruit)", 0.93)),
    ratings={"general": 0.9, "sensitive": 0.08, "questionable": 0.01, "explicit": 0.01},
    caption="A red apple on a table.",
)
"""What the fake engine sees in every picture."""


class FakeEngine:
    """Paints flat pictures whose colours follow from prompt and seed: equal requests, equal pixels.

    `step_seconds` is what a step takes. `failures` are codes that the next jobs end with, after
    half of their steps; "hang" stands for never ending. `began` counts the jobs by their name.
    `unsafe` is what the picture check finds, picture by picture; where it ends, nothing checks.
    `file_hash` is the hash of every model file: with another one the pictures are others too.
    """

    def __init__(
        self,
        step_seconds: float = 0.0,
        failures: tuple[str, ...] = (),
        unsafe: Sequence[float] = (),
    ) -> None:
        self.step_seconds = step_seconds
        self.failures = list(failures)
        self.unsafe = unsafe
        self.file_hash = FILE_HASH
        self.began: list[str] = []
        self.handed: list[str] = []
        self.withdrawn: list[str] = []
        self.gate: asyncio.Event | None = None
        """Where a test sets one, jobs wait for it after their first step."""
        self.dies_at = ""
        """A stage that it dies at, once."""
        self.faceless: tuple[int, ...] = ()
        """Of which pictures it finds no face, where some are to be restored."""
        self._ready: Ready | None = None
        self._cancelled: set[str] = set()

    @property
    def ready(self) -> Ready | None:
        """READY once it has started."""
        return self._ready

    async def start(self) -> Ready:
        """Start at once."""
        self._ready = READY
        return READY

    async def generate(self, work: EngineWork) -> AsyncGenerator[EngineEvent, None]:
        """The events that a real engine would give."""
        await self.start()
        self.began.append(work.job)
        self._cancelled.discard(work.job)
        failure = self.failures.pop(0) if self.failures else ""
        request = work.request
        stage: Literal["enlarging", "denoising", "describing"] = "denoising"
        if not isinstance(work, Generate):
            stage = "enlarging" if isinstance(work, Enlarge) else "describing"
        yield Progress(work.job, "loading", 0, request.steps)
        for step in range(1, request.steps + 1):
            await asyncio.sleep(self.step_seconds)
            yield Progress(work.job, stage, step, request.steps)
            if step == 1 and isinstance(work, Enlarge):
                yield Preview(work.job, _encode(larger(work, (64, 64)), "JPEG"))
            elif step == 1 and isinstance(work, Generate):
                yield Preview(work.job, _encode(paint(request, 0, 64, self.file_hash), "JPEG"))
            if step == 1 and self.gate is not None:
                await self.gate.wait()
            if work.job in self._cancelled:
                yield Failed(work.job, "cancelled")
                return
            if failure == "hang":
                await asyncio.Event().wait()
            if failure and step * 2 >= request.steps:
                yield Failed(work.job, failure, detail="as the test asked")
                return
        stages: list[Literal["faces", "cutout"]] = []
        stages += ["faces"] if request.faces_wanted is not None else []
        stages += ["cutout"] if request.cutout_wanted else []
        for last in stages:
            yield Progress(work.job, last, request.steps, request.steps)
            if self.dies_at == last:
                self.dies_at = ""
                yield Failed(work.job, "worker_died", detail="as the test asked")
                return
        found = (work.tagger, work.captioner) if isinstance(work, Describe) else (work.upscaler,)
        files = [file for file in found if file is not None]
        files += () if isinstance(work, Describe) else work.finishing.files
        if isinstance(work, Generate):
            files += [work.checkpoint, *work.checkpoint.parts.values()]
            files += [file for file in (work.vae, work.segmenter) if file is not None]
        hashes = {f"{file.kind}:{file.name}": self.file_hash for file in files}
        again = None if isinstance(work, Describe) else work.numerics
        numerics = again or Numerics(
            batch_size=request.count, precision="float32", vae_precision="float32"
        )
        if isinstance(work, Describe):
            unsafe = self.unsafe[0] if self.unsafe else None
            seen = msgspec.structs.replace(seen_by(work), unsafe=unsafe)
            yield Described(work.job, seen)
        drawn = () if isinstance(work, Describe) else request.seeds
        if isinstance(work, Generate):
            for index, use in enumerate(request.controls):
                size = (request.width, request.height)
                handed = Image.open(io.BytesIO(work.pictures[use.picture])).convert("L")
                file = _encode(handed.resize(size), "PNG")
                unsafe = self.unsafe[0] if self.unsafe else None
                yield ControlSeen(work.job, index, file, *size, unsafe)
            if work.segmenter is not None:
                file = _encode(
                    Image.linear_gradient("L").point(lambda grey: grey // 128 * 255), "PNG"
                )
                yield ControlSeen(work.job, len(request.controls), file, 256, 256)
        for index, seed in enumerate(drawn):
            if isinstance(work, Enlarge):
                picture = larger(work, request.size)
            else:
                picture = paint(request, index, 0, self.file_hash)
            if request.cutout_wanted:
                picture.putalpha(Image.linear_gradient("L").resize(picture.size))
            file, pixels = encoded(picture, request)
            yield Picture(
                job=work.job,
                index=index,
                seed=seed,
                file=file,
                width=picture.width,
                height=picture.height,
                pixels_sha256=pixels,
                hashes=hashes,
                variation_seed=request.variation_seeds[index],
                unsafe=self.unsafe[index] if index < len(self.unsafe) else None,
                numerics=numerics,
            )
        yield Finished(
            job=work.job,
            seconds=self.step_seconds * request.steps,
            seconds_loading=0.0,
            batch_size=request.count,
            memory_peak=0,
            hashes=hashes,
            versions=READY.versions,
            numerics=numerics,
            faceless=self.faceless if request.faces_wanted is not None else (),
        )

    def hand_ahead(self, work: EngineWork) -> bool:
        """Note it in `handed`; it begins when it is asked for."""
        self.handed.append(work.job)
        return True

    def withdraw(self, job: str) -> None:
        """Note it in `withdrawn`."""
        self.withdrawn.append(job)

    async def cancel(self, job: str) -> None:
        """The job ends at its next step."""
        self._cancelled.add(job)

    async def stop(self) -> None:
        """Nothing runs on."""
        self._ready = None


def seen_by(work: Describe) -> Description:
    """Of SEEN what the tagger and the captioner say that are asked."""
    tagger, captioner = work.tagger is not None, work.captioner is not None
    return Description(
        tags=SEEN.tags if tagger else (),
        ratings=SEEN.ratings if tagger else {},
        caption=SEEN.caption if captioner else "",
    )


def larger(work: Enlarge, size: tuple[int, int]) -> Image.Image:
    """The picture that is to be enlarged, at that size in pixels."""
    made = work.request.enlargement
    assert made is not None
    with Image.open(io.BytesIO(work.pictures[made.picture])) as picture:
        return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def paint(
    request: GenerationRequest, index: int, side: int = 0, file_hash: str = FILE_HASH
) -> Image.Image:
    """Picture `index` of the request at its size, or with that longer side in pixels.

    A variation shows all its seeds, one over the other.
    """
    size = request.size if request.extension is not None else request.drawn_size
    if side:
        size = (side * size[0] // max(size) or 1, side * size[1] // max(size) or 1)
    picture = _of_seed(request, request.seeds[index], size, file_hash)
    for variation in request.variations[index]:
        other = _of_seed(request, variation.seed, size, file_hash)
        picture = Image.blend(picture, other, variation.strength)
    return picture


def _of_seed(
    request: GenerationRequest, seed: int, size: tuple[int, int], file_hash: str
) -> Image.Image:
    vae = f"/{request.vae}" if request.vae else ""
    file = "" if file_hash == FILE_HASH else file_hash
    chance = random.Random(f"{seed}/{request.prompt}{vae}{file}")
    picture = Image.new("RGB", size, _colour(chance.random(), 0.3))
    draw = ImageDraw.Draw(picture)
    for _ in range(5):
        x, y, r = (chance.random() for _ in range(3))
        box = [(x - r / 3) * size[0], (y - r / 3) * size[1]]
        box += [(x + r / 3) * size[0], (y + r / 3) * size[1]]
        draw.ellipse(box, fill=_colour(chance.random(), 0.8))
    return picture


def _colour(hue: float, saturation: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, 0.9)
    return round(red * 255), round(green * 255), round(blue * 255)


def _encode(picture: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()
