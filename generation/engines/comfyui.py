"""A running ComfyUI as an engine: a graph for each picture, over its own HTTP and WebSocket API."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path
from typing import ClassVar

from generation.comfyui import expressing
from generation.comfyui.drawing import ComfyUIDrawing
from generation.comfyui.graph import graph_of
from generation.comfyui.names import Names
from generation.comfyui.server import ComfyUIServer
from generation.engines.helper import Helper
from generation.engines.program import FutureHashes, ProgramEngine
from generation.messages import ControlSeen, EngineEvent, EngineWork, Generate, Ready
from generation.models import ModelFile
from generation.programs.pictures import drawn, finished, fitted
from generation.request import GenerationRequest


class ComfyUIEngine(ProgramEngine):
    """Has a ComfyUI draw that somebody else runs."""

    title: ClassVar[str] = "ComfyUI"

    def __init__(
        self,
        address: str,
        *,
        cache: Path,
        hang_after: float = 120.0,
        preview_every: float = 1.0,
        helper: Helper | None = None,
    ) -> None:
        super().__init__(
            address,
            cache=cache,
            hang_after=hang_after,
            preview_every=preview_every,
            helper=helper,
        )
        self.names: Names | None = None
        """What it had when it was asked last."""
        self._server = ComfyUIServer(address)
        self._client = uuid.uuid4().hex

    @property
    def told(self) -> object:
        """What it had when it was asked last."""
        return self.names

    def check(self, request: GenerationRequest) -> None:
        """Raise Refused for what no graph says."""
        expressing.check(request, self.names)

    def check_work(self, work: EngineWork) -> None:
        """The same, and for files that it can't load or does not find."""
        expressing.check_work(work, self.names)

    async def _ask(self) -> Ready:
        about = await self._server.about()
        self.names = await self._server.names()
        return Ready(
            device=about.device,
            device_name=about.device_name,
            memory_total=about.memory_total,
            memory_free=about.memory_free,
            precision="its own",
            versions={"comfyui": about.version, "torch": about.torch},
        )

    def _files(self, work: Generate) -> Iterable[ModelFile]:
        return expressing.files_of(work)

    async def _close(self) -> None:
        await self._server.close()

    async def _each(
        self, work: Generate, hashing: FutureHashes
    ) -> AsyncGenerator[EngineEvent, None]:
        request, names = work.request, self.names
        assert names is not None, "it has started"
        async with self._server.events(self._client) as socket:
            size = request.width, request.height
            shown = {
                sha256: await asyncio.to_thread(fitted, data, size)
                for sha256, data in work.pictures.items()
            }
            uploads = {
                sha256: await self._server.upload(f"{sha256[:32]}-{size[0]}x{size[1]}.png", png)
                for sha256, png in shown.items()
            }
            for number, use in enumerate(request.controls):
                yield ControlSeen(work.job, number, shown[use.picture], *size)
            for index in range(request.count):
                graph = graph_of(work, index, names, uploads)
                drawing = ComfyUIDrawing(self._server, socket, graph, work, index, self._stopping)
                drawing.hang_after, drawing.preview_every = self._hang_after, self._preview_every
                async with contextlib.aclosing(drawing.events(self._client)) as events:
                    async for event in events:
                        yield event
                assert drawing.file is not None
                picture = await asyncio.to_thread(drawn, drawing.file)
                yield await asyncio.to_thread(finished, picture, work, index, await hashing)
