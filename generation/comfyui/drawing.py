"""One graph, from the queue of a ComfyUI to its picture."""

import asyncio
import contextlib
import json
import struct
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final, cast

import aiohttp

from generation.comfyui.faults import rejection, what_failed
from generation.comfyui.names import OVER_SOCKET, SAMPLER
from generation.comfyui.nodes import STAGES, Stage, ToldGraph
from generation.comfyui.server import ComfyUIServer, RejectedError
from generation.messages import EngineEvent, Preview, Progress
from generation.programs.faults import EndedError, ServerError

LOOK_EVERY: Final = 2.0
"""Seconds of silence after which it is asked whether it still has a picture in hand."""
LOADING_FACTOR: Final = 5
"""Loading a checkpoint says nothing for long."""
PREVIEW, OF_METADATA = 1, 4
"""Kinds of binary messages: a picture, and one behind JSON that tells of it."""
JPEG, PNG = 1, 2
"""Kinds of such pictures."""


class ComfyUIDrawing:
    """One graph, from the queue of a ComfyUI to its picture."""

    hang_after = 120.0
    preview_every = 1.0

    def __init__(
        self,
        server: ComfyUIServer,
        socket: aiohttp.ClientWebSocketResponse,
        told: ToldGraph,
        stopping: asyncio.Event,
        progress: Callable[[Stage, float], Progress],
    ) -> None:
        """`progress` says how far the job is when so many steps of this graph are done."""
        self.file: bytes | None = None
        """The finished picture, a PNG."""
        self._server = server
        self._socket = socket
        self._told = told
        self._stopping = stopping
        self._progress = progress
        self._number = ""
        """The node that is at work, and"""
        self._node = ""
        """its class."""
        self._stage: Stage = "loading"
        self._done = 0.0
        """Steps of the nodes that have been at work."""
        self._prompt = ""
        self._previewed = float("-inf")

    async def events(self, client: str, job: str) -> AsyncGenerator[EngineEvent, None]:
        """What happens until the picture is there. Raises EndedError and ServerError.

        However it ends before that, ComfyUI is told to leave it.
        """
        try:
            self._prompt = await self._server.draw(self._told.graph, client)
        except RejectedError as rejected:
            code, params = rejection(rejected.error, rejected.nodes)
            raise EndedError(code, params, str(rejected)) from rejected
        over = False
        try:
            while not over:
                message = await self._received()
                if isinstance(message, bytes):
                    for event in self._shown(message, job):
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
            raise EndedError("comfyui_failed", {"node": self._node, "why": "no picture came"})

    async def _received(self) -> dict[str, Any] | bytes:
        """The next message that concerns this graph."""
        silent_since, gone = time.monotonic(), 0
        while True:
            message = await self._next()
            if self._stopping.is_set():
                raise EndedError("cancelled")
            if message is None:
                place = await self._server.place(self._prompt)
                gone = gone + 1 if place == "gone" else 0
                if gone > 1:
                    raise ServerError(f"{self._server.address} does not know of it any more")
                if place == "waiting":
                    silent_since = time.monotonic()
                patience = self.hang_after * (LOADING_FACTOR if self._stage == "loading" else 1)
                if time.monotonic() - silent_since > patience:
                    raise EndedError("worker_hung", detail=f"silent for {patience:g} s")
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
        """Whether the graph was drawn to its end. Raises EndedError where it was not."""
        data = message["data"]
        match message["type"]:
            case "execution_success":
                return True
            case "executing":
                # how versions before 2024-08 say it
                return data.get("node") is None
            case "execution_interrupted":
                raise EndedError("comfyui_interrupted")
            case "execution_error":
                raise EndedError(*what_failed(data))
        return False

    def _said(self, message: dict[str, Any]) -> list[EngineEvent]:
        data, kind = message["data"], message["type"]
        if kind == "executing" and data.get("node") is not None:
            return self._goes_on(str(data["node"]))
        work = self._told.work.get(self._number)
        if kind == "progress" and work is not None:
            done, most = float(data.get("value", 0)), float(data.get("max", 0))
            share = min(done / most, 1.0) if most else 0.0
            return [self._progress(work.stage, self._done + share * work.steps)]
        return []

    def _goes_on(self, number: str) -> list[EngineEvent]:
        """With another node."""
        before = self._told.work.get(self._number)
        self._done += before.steps if before is not None else 0
        self._number = number
        self._node = str(self._told.graph.get(number, {}).get("class_type", ""))
        work = self._told.work.get(number)
        if work is not None:
            # what it knows of a graph before is not drawn again, and said nothing of
            order = list(self._told.work)
            earlier = order[: order.index(number)]
            self._done = sum(self._told.work[one].steps for one in earlier)
        stage = STAGES.get(self._node) if work is None else work.stage
        if stage is None:
            return []
        self._stage = stage
        return [self._progress(stage, self._done)]

    def _shown(self, message: bytes, job: str) -> list[EngineEvent]:
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
        return [Preview(job, content)]
