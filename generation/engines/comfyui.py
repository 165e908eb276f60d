"""A running ComfyUI as an engine: a graph for each picture, over its own HTTP and WebSocket API."""

import asyncio
import contextlib
import io
import time
import uuid
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final, cast

import structlog
from PIL import Image, ImageOps

from generation.comfyui import expressing
from generation.comfyui.drawing import ComfyUIDrawing, EndedError
from generation.comfyui.faults import rejection
from generation.comfyui.graph import graph_of
from generation.comfyui.names import Names
from generation.comfyui.server import ComfyUIServer, RejectedError, ServerError
from generation.engines import EngineError
from generation.info.file_hashes import FileHashes
from generation.messages import (
    ControlSeen,
    EngineEvent,
    EngineWork,
    Failed,
    Finished,
    Generate,
    Picture,
    Progress,
    Ready,
)
from generation.models import ModelKind
from generation.picture_encoding import encoded
from generation.refusal import Refused

log = structlog.get_logger(__name__)

AWAY_EVERY: Final = 3.0
"""Seconds between the looks whether one that was away is back."""
ASK_EVERY: Final = 30.0
"""Seconds between the looks at what it has, which anybody may change."""


class ComfyUIEngine:
    """Has a ComfyUI draw that somebody else runs. While it is away, no job is begun.

    It is given up on when it is silent for `hang_after` seconds with a picture in hand.
    """

    def __init__(
        self,
        address: str,
        *,
        cache: Path,
        hang_after: float = 120.0,
        preview_every: float = 1.0,
    ) -> None:
        self.names: Names | None = None
        """What it had when it was asked last."""
        self._server = ComfyUIServer(address)
        self._hashes = FileHashes(cache)
        self._hang_after = hang_after
        self._preview_every = preview_every
        self._client = uuid.uuid4().hex
        self._ready: Ready | None = None
        self._there = False
        self._lost = asyncio.Event()
        """Set while it is away."""
        self._watching: asyncio.Task[None] | None = None
        self._current = ""
        self._stopping = asyncio.Event()
        """Set once nobody wants the running job."""

    @property
    def ready(self) -> Ready | None:
        """What it said that it draws on, when it was there last."""
        return self._ready

    @property
    def there(self) -> bool:
        """Whether it answered when it was asked last."""
        return self._there

    async def start(self) -> Ready:
        """Look what it is, and from now on whether it is there. Raises EngineError where not."""
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())
        return await self._look()

    async def _look(self) -> Ready:
        try:
            about = await self._server.about()
            self.names = await self._server.names()
        except ServerError as error:
            self._lose()
            raise EngineError(f"ComfyUI does not answer: {error}") from error
        if not self._there:
            log.info("ComfyUI is there", version=about.version, device=about.device_name)
        self._there = True
        self._lost.clear()
        self._ready = Ready(
            device=about.device,
            device_name=about.device_name,
            memory_total=about.memory_total,
            memory_free=about.memory_free,
            precision="its own",
            versions={"comfyui": about.version, "torch": about.torch},
        )
        return self._ready

    def _lose(self) -> None:
        if self._there:
            log.warning("ComfyUI is away; it is looked for")
        self._there = False
        self._lost.set()

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._lost.wait(), ASK_EVERY)
                await asyncio.sleep(AWAY_EVERY)
            with contextlib.suppress(EngineError):
                await self._look()

    async def generate(self, work: EngineWork) -> AsyncGenerator[EngineEvent, None]:
        """The events of one job; see Engine. Closing the iterator cancels the job."""
        self._current = work.job
        self._stopping.clear()
        try:
            await self.start()
            expressing.check_work(work, self.names)
            # one that is closed closes what it stands on at once, which tells ComfyUI to stop
            async with contextlib.aclosing(self._drawn(cast("Generate", work))) as events:
                async for event in events:
                    yield event
        except (EngineError, ServerError) as error:
            self._lose()
            yield Failed(work.job, "worker_died", detail=str(error))
        except Refused as refused:
            params = {name: str(value) for name, value in refused.params.items()}
            yield Failed(work.job, refused.code, params)
        except RejectedError as rejected:
            yield Failed(work.job, *rejection(rejected.error, rejected.nodes), str(rejected))
        except EndedError as ended:
            yield Failed(work.job, ended.code, ended.params, ended.detail)
        finally:
            self._current = ""

    def hand_ahead(self, _work: EngineWork) -> bool:
        """Nothing is: ComfyUI keeps what it has loaded."""
        return False

    def withdraw(self, job: str) -> None:
        """Nothing was handed ahead."""

    async def cancel(self, job: str) -> None:
        """Have it stop at its next step."""
        if job == self._current:
            self._stopping.set()

    async def stop(self) -> None:
        """Leave it; it runs on."""
        self._stopping.set()
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.wait([watching])
        await self._server.close()

    async def _drawn(self, work: Generate) -> AsyncGenerator[EngineEvent, None]:
        request, names = work.request, self.names
        assert names is not None, "it has started"
        began = time.monotonic()
        total = request.steps * request.count
        yield Progress(work.job, "loading", 0, total)
        # a checkpoint takes seconds, in which ComfyUI draws
        hashing = asyncio.ensure_future(asyncio.to_thread(self._hashed, work))
        try:
            async with contextlib.aclosing(self._each(work, names, began, hashing)) as events:
                async for event in events:
                    yield event
        finally:
            hashing.cancel()

    async def _each(
        self, work: Generate, names: Names, began: float, hashing: "asyncio.Future[dict[str, str]]"
    ) -> AsyncGenerator[EngineEvent, None]:
        request, loading = work.request, 0.0
        async with self._server.events(self._client) as socket:
            size = request.width, request.height
            fitted = {
                sha256: await asyncio.to_thread(_fitted, data, size)
                for sha256, data in work.pictures.items()
            }
            uploads = {
                sha256: await self._server.upload(f"{sha256[:32]}-{size[0]}x{size[1]}.png", png)
                for sha256, png in fitted.items()
            }
            for number, use in enumerate(request.controls):
                yield ControlSeen(work.job, number, fitted[use.picture], *size)
            for index in range(request.count):
                graph = graph_of(work, index, names, uploads)
                drawing = ComfyUIDrawing(self._server, socket, graph, work, index, self._stopping)
                drawing.hang_after, drawing.preview_every = self._hang_after, self._preview_every
                async with contextlib.aclosing(drawing.events(self._client)) as events:
                    async for event in events:
                        yield event
                loading += drawing.loading
                assert drawing.file is not None
                hashes = await hashing
                picture = await asyncio.to_thread(_picture, drawing.file, work, index, hashes)
                yield picture
        yield Finished(
            job=work.job,
            seconds=time.monotonic() - began,
            seconds_loading=loading,
            batch_size=1,
            memory_peak=0,
            hashes=await hashing,
            versions=self._ready.versions if self._ready is not None else {},
        )

    def _hashed(self, work: Generate) -> dict[str, str]:
        found = {f"{file.kind}:{file.name}": file for file in expressing.files_of(work)}
        hashes = {key: self._hashes.of(file) for key, file in found.items()}
        hashes |= {
            f"tensors:{file.name}": self._hashes.of(file, tensors=True)
            for file in found.values()
            if file.kind is ModelKind.LORA
        }
        return {key: value for key, value in hashes.items() if value}


def _fitted(data: bytes, size: tuple[int, int]) -> bytes:
    """A picture as the project's own engine sees it: opaque, covering that size, cropped."""
    try:
        with Image.open(io.BytesIO(data)) as opened:
            picture = opened.convert("RGBA" if opened.has_transparency_data else "RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        raise Refused("picture_unreadable") from None
    if picture.mode == "RGBA":
        white = Image.new("RGB", picture.size, "white")
        picture = Image.composite(picture.convert("RGB"), white, picture.getchannel("A"))
    file = io.BytesIO()
    ImageOps.fit(picture, size, Image.Resampling.LANCZOS).save(file, "PNG")
    return file.getvalue()


def _picture(file: bytes, work: Generate, index: int, hashes: dict[str, str]) -> Picture:
    try:
        with Image.open(io.BytesIO(file)) as opened:
            picture = opened.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise EndedError("internal_error", detail=f"no picture came: {error}") from error
    content, pixels = encoded(picture, work.request)
    return Picture(
        job=work.job,
        index=index,
        seed=work.request.seeds[index],
        file=content,
        width=picture.width,
        height=picture.height,
        pixels_sha256=pixels,
        hashes=hashes,
    )
