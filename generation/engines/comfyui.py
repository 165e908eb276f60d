"""A running ComfyUI as an engine: a graph for each picture, over its own HTTP and WebSocket API."""

import asyncio
import contextlib
import io
import json
import struct
import time
import uuid
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Final, cast

import aiohttp
import structlog
from PIL import Image, ImageOps

from generation.comfyui import expressing
from generation.comfyui.faults import rejection, what_failed
from generation.comfyui.graph import STAGES, Graph, graph_of
from generation.comfyui.names import OVER_SOCKET, SAMPLER, Names
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
    Preview,
    Progress,
    Ready,
)
from generation.models import ModelKind
from generation.picture_encoding import encoded
from generation.refusal import Refused

log = structlog.get_logger(__name__)

LOOK_EVERY: Final = 2.0
"""Seconds of silence after which it is asked whether it still has a picture in hand."""
AWAY_EVERY: Final = 3.0
"""Seconds between the looks whether one that was away is back."""
ASK_EVERY: Final = 30.0
"""Seconds between the looks at what it has, which anybody may change."""
LOADING_FACTOR: Final = 5
"""Loading a checkpoint says nothing for long."""
PREVIEW, OF_METADATA = 1, 4
"""Kinds of binary messages: a picture, and one behind JSON that tells of it."""
JPEG, PNG = 1, 2
"""Kinds of such pictures."""


class _EndedError(Exception):
    """A graph came to no picture."""

    def __init__(self, code: str, params: dict[str, str] | None = None, detail: str = "") -> None:
        super().__init__(code, detail)
        self.code = code
        self.params = params or {}
        self.detail = detail


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
        except _EndedError as ended:
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
                drawing = _Drawing(self._server, socket, graph, work, index, self._stopping)
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


class _Drawing:
    """One graph, from the queue of a ComfyUI to its picture."""

    hang_after = 120.0
    preview_every = 1.0

    def __init__(
        self,
        server: ComfyUIServer,
        socket: aiohttp.ClientWebSocketResponse,
        graph: Graph,
        work: Generate,
        index: int,
        stopping: asyncio.Event,
    ) -> None:
        self.file: bytes | None = None
        """The finished picture, a PNG."""
        self.loading = 0.0
        """Seconds until its first step."""
        self._server = server
        self._socket = socket
        self._graph = graph
        self._work = work
        self._before = index * work.request.steps
        self._stopping = stopping
        self._node = ""
        """The class of the node that is at work."""
        self._stage = "loading"
        self._prompt = ""
        self._previewed = float("-inf")
        self._began = time.monotonic()

    async def events(self, client: str) -> AsyncGenerator[EngineEvent, None]:
        """What happens until the picture is there. Raises _EndedError, RejectedError, ServerError.

        However it ends before that, ComfyUI is told to leave it.
        """
        self._prompt = await self._server.draw(self._graph, client)
        over = False
        try:
            while not over:
                message = await self._received()
                if isinstance(message, bytes):
                    for event in self._shown(message):
                        yield event
                    continue
                over = self._is_over(message)
                images = message["data"].get("output") if message["type"] == "executed" else None
                if isinstance(images, dict) and images.get("images"):
                    self.file = await self._server.view(images["images"][0])
                for event in self._said(message):
                    yield event
        finally:
            if not over:
                with contextlib.suppress(ServerError):
                    await self._server.leave(self._prompt)
        if self.file is None:
            raise _EndedError("comfyui_failed", {"node": self._node, "why": "no picture came"})

    async def _received(self) -> dict[str, Any] | bytes:
        """The next message that concerns this graph."""
        silent_since, gone = time.monotonic(), 0
        while True:
            message = await self._next()
            if self._stopping.is_set():
                raise _EndedError("cancelled")
            if message is None:
                place = await self._server.place(self._prompt)
                gone = gone + 1 if place == "gone" else 0
                if gone > 1:
                    raise ServerError(f"{self._server.address} does not know of it any more")
                if place == "waiting":
                    silent_since = time.monotonic()
                patience = self.hang_after * (LOADING_FACTOR if self._stage == "loading" else 1)
                if time.monotonic() - silent_since > patience:
                    raise _EndedError("worker_hung", detail=f"silent for {patience:g} s")
                continue
            if message.type is aiohttp.WSMsgType.BINARY:
                return cast("bytes", message.data)
            if message.type is not aiohttp.WSMsgType.TEXT:
                raise ServerError(f"{self._server.address} has hung up")
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
                said = json.loads(message.data)
                if said["data"].get("prompt_id") == self._prompt:
                    said["type"]
                    return cast("dict[str, Any]", said)

    async def _next(self) -> aiohttp.WSMessage | None:
        """The next message, or None when it is silent, or nobody wants the picture."""
        receiving = asyncio.ensure_future(self._socket.receive())
        stopped = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait(
                (receiving, stopped), timeout=LOOK_EVERY, return_when=asyncio.FIRST_COMPLETED
            )
            return receiving.result() if receiving.done() else None
        finally:
            receiving.cancel()
            stopped.cancel()
            await asyncio.gather(receiving, stopped, return_exceptions=True)

    def _is_over(self, message: dict[str, Any]) -> bool:
        """Whether the graph was drawn to its end. Raises _EndedError where it was not."""
        data = message["data"]
        match message["type"]:
            case "execution_success":
                return True
            case "executing":
                # how versions before 2024-08 say it
                return data.get("node") is None
            case "execution_interrupted":
                raise _EndedError("comfyui_interrupted")
            case "execution_error":
                raise _EndedError(*what_failed(data))
        return False

    def _said(self, message: dict[str, Any]) -> list[EngineEvent]:
        data, kind = message["data"], message["type"]
        if kind == "executing" and data.get("node") is not None:
            node = self._graph.get(str(data["node"]), {})
            self._node = str(node.get("class_type", ""))
            if self._node in STAGES:
                self._stage = STAGES[self._node]
                return [self._progress(0 if self._stage != "decoding" else None)]
        if kind == "progress" and self._node == SAMPLER:
            done, most = float(data.get("value", 0)), float(data.get("max", 0))
            steps = self._work.request.steps
            self.loading = self.loading or time.monotonic() - self._began
            return [self._progress(round(done * steps / most) if most else 0)]
        return []

    def _progress(self, done: int | None) -> Progress:
        request = self._work.request
        done = request.steps if done is None else min(done, request.steps)
        stage = cast("Any", self._stage)
        return Progress(self._work.job, stage, self._before + done, request.steps * request.count)

    def _shown(self, message: bytes) -> list[EngineEvent]:
        """What a binary message shows: the picture, or what it looks like so far."""
        kind = int.from_bytes(message[:4], "big")
        if kind == OF_METADATA:
            (length,) = struct.unpack(">I", message[4:8])
            told = json.loads(message[8 : 8 + length])
            of, content = (
                PNG if told.get("image_type") == "image/png" else JPEG,
                message[8 + length :],
            )
        elif kind == PREVIEW:
            of, content = int.from_bytes(message[4:8], "big"), message[8:]
        else:
            return []
        if self._node == OVER_SOCKET:
            self.file = content
            return []
        due = self.preview_every and time.monotonic() - self._previewed >= self.preview_every
        if self._node != SAMPLER or of != JPEG or not due:
            return []
        self._previewed = time.monotonic()
        return [Preview(self._work.job, content)]


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
        raise _EndedError("internal_error", detail=f"no picture came: {error}") from error
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
