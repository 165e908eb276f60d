"""One job: the graphs that ComfyUI is told one after the other, and what is done to pictures
between them and afterwards.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol

import msgspec
import numpy as np
from PIL import Image

from generation import enlarged_sizes, hires
from generation.comfyui.drawing import ComfyUIDrawing
from generation.comfyui.graph import PassPictures, graph_of, upscaling
from generation.comfyui.names import Names
from generation.comfyui.nodes import Stage, ToldGraph
from generation.comfyui.passes import ComfyUIPass, over_latents, passes_of
from generation.comfyui.server import ComfyUIServer, Socket
from generation.comfyui.shown import Shown, control_picture, start_of
from generation.enlarged_sizes import BORDER, Size
from generation.enlarging import NO_UPSCALER
from generation.hires_sizes import LATENT
from generation.masked_pictures import MaskedPicture
from generation.messages import (
    ControlSeen,
    EngineEvent,
    Enlarge,
    Finishing,
    Generate,
    Progress,
)
from generation.models import ModelFile
from generation.programs.faults import EndedError
from generation.programs.pictures import drawn, layers, png
from generation.request_parts import ControlUse

ENLARGING: Final = 100
"""Steps in which it is told how far an enlargement is."""

HearEvent = Callable[[EngineEvent], None]
TakePicture = Callable[[int, Image.Image], Awaitable[None]]
"""Takes a picture of the job, with its index."""


class Helps(Protocol):
    """What does what ComfyUI can't, as Helper of generation/engines/helper.py."""

    async def control_picture(
        self,
        job: str,
        use: ControlUse,
        png: bytes,
        size: tuple[int, int],
        annotators: Mapping[str, ModelFile],
    ) -> bytes:
        """What a ControlNet is shown of a picture."""

    async def finished(
        self, job: str, png: bytes, size: tuple[int, int], wanted: Finishing
    ) -> tuple[bytes, bool]:
        """A picture with that done to it, and whether no face was in it."""


class Making:
    """A job in hand; `say` hears of it, and `made` has its pictures.

    What goes wrong is raised as EndedError, ServerError and Refused, or as `helper` raises it.
    """

    hang_after = 120.0
    preview_every = 1.0

    def __init__(
        self,
        work: Generate | Enlarge,
        names: Names,
        server: ComfyUIServer,
        socket: Socket,
        client: str,
        stopping: asyncio.Event,
        helper: Helps | None,
        say: HearEvent,
        made: TakePicture,
    ) -> None:
        self.faceless: list[int] = []
        """Of which pictures the faces were to be restored and there were none."""
        self._job = work.job
        self._finishing = work.finishing
        self._names = names
        self._server = server
        self._socket = socket
        self._client = client
        self._stopping = stopping
        self._helper = helper
        self._say = say
        self._made = made
        self._shown = Shown(self._upload)
        self._steps = 0.0
        """Of the whole job."""
        self._done = 0.0

    async def generate(self, work: Generate) -> None:
        """Draw the pictures of a job."""
        passes, count = passes_of(work), work.request.count
        each = sum(step.steps for step in passes)
        self._steps = each * count
        start, masked = await asyncio.to_thread(start_of, work)
        if work.enlargement is not None:
            start = await self._larger_start(work)
        seen = []
        for step in passes:
            begins = await self._shown.beginning(step, None if step.number else start, masked)
            controls = await self._controls(work, step, masked)
            seen.append(begins._replace(controls=controls))
        for index in range(count):
            self._done = index * each
            if len(passes) == 1 or over_latents(work.request):
                picture = await self._run(graph_of(work, passes, index, self._names, seen))
            else:
                picture = await self._in_two(work, passes, index, seen)
            picture = await self._finished(index, picture, masked)
            await self._made(index, picture)

    async def enlarge(self, work: Enlarge) -> None:
        """Make a picture larger by a network."""
        made = work.request.enlargement
        assert made is not None
        assert work.upscaler is not None
        self._steps = ENLARGING
        before = await asyncio.to_thread(layers, work.pictures[made.picture])
        size = made.width, made.height
        picture = await self._upscaled(made.upscaler, work.upscaler, before.convert("RGB"), size)
        picture = await self._finished(0, picture, None)
        if before.mode == "RGBA" and picture.mode == "RGB":
            # what was transparent stays so
            picture.putalpha(before.getchannel("A").resize(picture.size, Image.Resampling.LANCZOS))
        await self._made(0, picture)

    # what is drawn

    async def _in_two(
        self, work: Generate, passes: tuple[ComfyUIPass, ...], index: int, seen: list[PassPictures]
    ) -> Image.Image:
        """A picture in two passes with another between them, which is enlarged."""
        first, second = passes
        picture = await self._run(graph_of(work, [first], index, self._names, seen[:1]))
        self._done += first.steps
        sizes, name = hires.sizes_of(work.request), work.request.hires_upscaler or ""
        self._say(self._progress("enlarging"))
        to, then = enlarged_sizes.between_passes(name, picture.size, sizes.enlarged)
        if to is not None:
            picture = await self._upscaled(name, work.upscaler, picture, to)
        for size in then:
            if picture.size != size:
                picture = await _resized(picture, size)
        again = seen[1]._replace(start=await self._shown.name(picture), crop=sizes)
        return await self._run(graph_of(work, [second], index, self._names, [again]))

    async def _larger_start(self, work: Generate) -> Image.Image:
        """What a second pass goes over: a finished picture, enlarged."""
        made = work.enlargement
        assert made is not None
        before = await asyncio.to_thread(layers, work.pictures[made.picture])
        if made.upscaler == NO_UPSCALER:
            return before.convert("RGB")
        size = made.width, made.height
        self._say(self._progress("enlarging"))
        return await self._upscaled(made.upscaler, work.upscaler, before.convert("RGB"), size)

    async def _run(self, told: ToldGraph) -> Image.Image:
        """What comes of one graph."""
        drawing = ComfyUIDrawing(self._server, self._socket, told, self._stopping, self._progress)
        drawing.hang_after, drawing.preview_every = self.hang_after, self.preview_every
        async with contextlib.aclosing(drawing.events(self._client, self._job)) as events:
            async for event in events:
                self._say(event)
        assert drawing.file is not None
        return await asyncio.to_thread(drawn, drawing.file)

    def _progress(self, stage: Stage, done: float = 0.0) -> Progress:
        """So much is done of the graph that it draws now, or was told last."""
        return Progress(self._job, stage, round(self._done + done), round(self._steps))

    # what is done to pictures

    async def _upscaled(
        self, name: str, file: ModelFile | None, picture: Image.Image, size: Size
    ) -> Image.Image:
        """A picture in RGB at that size, by as many passes of the network as that takes."""
        if file is None:
            return await asyncio.to_thread(enlarged_sizes.plainly, name, picture, size)
        have, done, passes = picture.size, 0, 1
        steps = ENLARGING if self._steps == ENLARGING else 0
        while done < passes:
            wide, high = picture.size
            around = await asyncio.to_thread(_continued, picture)
            seen = await self._shown.name(around)
            larger = await self._run(upscaling(self._names, file, seen, steps))
            scale = larger.width // around.width
            left = BORDER * scale
            picture = larger.crop((left, left, left + wide * scale, left + high * scale))
            done, passes = done + 1, enlarged_sizes.passes(have, size, scale)
        return picture if picture.size == size else await _resized(picture, size)

    async def _finished(
        self, index: int, picture: Image.Image, masked: MaskedPicture | None
    ) -> Image.Image:
        """As A1111 has it what a mask keeps is put back after faces are restored."""
        wanted = self._finishing
        if wanted.faces is not None:
            picture, faceless = await self._helped(
                picture, msgspec.structs.replace(wanted, remover=None)
            )
            if faceless:
                self.faceless.append(index)
        if masked is not None:
            picture = await asyncio.to_thread(masked.pasted, picture)
        if wanted.remover is not None:
            picture, _ = await self._helped(picture, Finishing(remover=wanted.remover))
        return picture

    async def _helped(self, picture: Image.Image, wanted: Finishing) -> tuple[Image.Image, bool]:
        """A picture with that done to it, and whether none of the faces was in it."""
        if self._helper is None:
            raise EndedError("internal_error", detail="nothing is there that finishes pictures")
        self._say(self._progress("decoding"))
        file = await asyncio.to_thread(png, picture)
        file, faceless = await self._helper.finished(self._job, file, picture.size, wanted)
        return await asyncio.to_thread(layers, file), faceless

    # what it is shown

    async def _controls(
        self, work: Generate, step: ComfyUIPass, masked: MaskedPicture | None
    ) -> tuple[str, ...]:
        """ComfyUI's names of the control pictures of a pass."""
        names = []
        for number, use in enumerate(work.request.controls):

            async def prepare(use: ControlUse, data: bytes, size: Size) -> bytes:
                if self._helper is None:
                    raise EndedError("internal_error", detail="nothing makes control pictures")
                return await self._helper.control_picture(
                    self._job, use, data, size, work.annotators
                )

            data = await control_picture(work, step, use, masked, prepare)
            size = step.request.width, step.request.height
            self._say(ControlSeen(self._job, number, data, *size))
            names.append(await self._shown.name_of(data))
        return tuple(names)

    async def _upload(self, name: str, data: bytes) -> str:
        if self._stopping.is_set():
            raise EndedError("cancelled")
        return await self._server.upload(name, data)


async def _resized(picture: Image.Image, size: Size) -> Image.Image:
    return await asyncio.to_thread(picture.resize, size, Image.Resampling.LANCZOS)


def _continued(picture: Image.Image) -> Image.Image:
    """A picture that goes on a little on each side, with sides that are whole latents."""
    across, down = -picture.width % LATENT, -picture.height % LATENT
    around = (BORDER, BORDER + down), (BORDER, BORDER + across), (0, 0)
    return Image.fromarray(np.pad(np.asarray(picture), around, "edge"))
