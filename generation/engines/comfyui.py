"""A running ComfyUI as an engine: a graph for each picture, over its own HTTP and WebSocket API."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path
from typing import ClassVar, Final

from PIL import Image

from generation.comfyui import expressing
from generation.comfyui.making import Making
from generation.comfyui.names import Names
from generation.comfyui.server import ComfyUIServer
from generation.ending import ended
from generation.engines.helper import Helper
from generation.engines.program import FutureHashes, ProgramEngine
from generation.messages import EngineEvent, EngineWork, Enlarge, Generate, Ready
from generation.models import ModelFile
from generation.programs.pictures import finished
from generation.request import GenerationRequest

LEAVING_SECONDS: Final = 10.0
"""In which ComfyUI is told that nobody wants a picture any more."""


class ComfyUIEngine(ProgramEngine):
    """Has a ComfyUI draw that somebody else runs."""

    title: ClassVar[str] = "ComfyUI"
    upscales: ClassVar[bool] = True

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

    def _each(self, work: Generate, hashing: FutureHashes) -> AsyncGenerator[EngineEvent, None]:
        return self._making(work, hashing)

    def _larger(self, work: Enlarge, hashing: FutureHashes) -> AsyncGenerator[EngineEvent, None]:
        return self._making(work, hashing)

    async def _making(
        self, work: Generate | Enlarge, hashing: FutureHashes
    ) -> AsyncGenerator[EngineEvent, None]:
        names = self.names
        assert names is not None, "it has started"
        events: asyncio.Queue[EngineEvent | None] = asyncio.Queue()

        async def made(index: int, picture: Image.Image) -> None:
            hashes = await hashing
            events.put_nowait(await asyncio.to_thread(finished, picture, work, index, hashes))

        async with self._server.events(self._client) as socket:
            making = Making(
                *(work, names, self._server, socket, self._client, self._stopping, self._helper),
                *(events.put_nowait, made),
            )
            making.hang_after, making.preview_every = self._hang_after, self._preview_every
            if isinstance(work, Generate):
                task = asyncio.create_task(making.generate(work))
            else:
                task = asyncio.create_task(making.enlarge(work))
            task.add_done_callback(lambda _: events.put_nowait(None))
            try:
                while (event := await events.get()) is not None:
                    yield event
                await task
            finally:
                await ended(task, within=LEAVING_SECONDS)
        self._faceless = tuple(making.faceless)
