"""A running A1111 webui, or a fork of it, as an engine: a call of its API for each picture."""

import asyncio
import contextlib
import io
import uuid
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path
from typing import ClassVar, Final

from PIL import Image, ImageOps

from generation.engines.helper import Helper
from generation.engines.program import FutureHashes, ProgramEngine
from generation.messages import (
    ControlSeen,
    EngineEvent,
    EngineWork,
    Finishing,
    Generate,
    Ready,
)
from generation.models import ModelFile
from generation.programs.faults import EndedError
from generation.programs.pictures import drawn, finished, layers, opaque, png
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.request_parts import ControlUse
from generation.webui import expressing
from generation.webui.answers import otherwise
from generation.webui.drawing import WebuiDrawing
from generation.webui.names import WebuiNames
from generation.webui.payload import GivenPictures, kind_of, payload_of
from generation.webui.server import WebuiServer

FORMAT_REMARK: Final = (
    'It hands out pictures that have lost something: set "File format for images" to png in its'
    " settings."
)


class WebuiEngine(ProgramEngine):
    """Has a webui draw that somebody else runs."""

    title: ClassVar[str] = "A1111's webui"

    def __init__(
        self,
        address: str,
        *,
        cache: Path,
        auth: str = "",
        hang_after: float = 120.0,
        preview_every: float = 1.0,
        helper: Helper | None = None,
    ) -> None:
        self._server = WebuiServer(address, auth)
        super().__init__(
            self._server.address,
            cache=cache,
            hang_after=hang_after,
            preview_every=preview_every,
            helper=helper,
        )
        self.names: WebuiNames | None = None
        """What it had when it was asked last."""
        self._settled: set[str] = set()
        """Settings that it sets back behind a picture, since it was there."""
        self._missed = False
        """Whether it lacked a file, which may have come since it looked."""
        self._version = ""
        """As it has named itself beside a picture; before one nothing says it."""

    @property
    def told(self) -> object:
        """What it had when it was asked last."""
        return self.names

    def check(self, request: GenerationRequest) -> None:
        """Raise Refused for what its API can't say."""
        expressing.check(request, self.names)

    def check_work(self, work: EngineWork) -> None:
        """The same, and for files that it can't load or does not find."""
        try:
            expressing.check_work(work, self.names)
        except Refused as refused:
            self._missed = self._missed or refused.code == "webui_file"
            raise

    async def _ask(self) -> Ready:
        about = await self._server.about()
        if self._missed and not (await self._server.seen())[0].busy:
            # it looks into its folders once, as it starts; while it draws it would do so afterwards
            self._missed = False
            await self._server.refresh()
        found = await self._server.names()
        if found != self.names:
            self.names = found
        return Ready(
            device="cuda" if about.cuda else "cpu",
            device_name="its graphics card" if about.cuda else "its processor",
            memory_total=about.memory_total,
            memory_free=about.memory_free,
            precision="its own",
            versions={self._kind: self._version},
            remark="" if expressing.lossless(found) else FORMAT_REMARK,
        )

    @property
    def _kind(self) -> str:
        return "forge" if self.names is not None and self.names.forge else "webui"

    def _versions(self) -> dict[str, str]:
        return {self._kind: self._version}

    def _files(self, work: Generate) -> Iterable[ModelFile]:
        return expressing.files_of(work)

    def _lose(self) -> None:
        self._settled.clear()
        super()._lose()

    async def _close(self) -> None:
        await self._server.close()

    async def _each(
        self, work: Generate, hashing: FutureHashes
    ) -> AsyncGenerator[EngineEvent, None]:
        names = self.names
        assert names is not None, "it has started"
        given = await asyncio.to_thread(_given, work)
        for number, use in enumerate(work.request.controls):
            shown = await self._shown(work, use)
            given = given._replace(controls=(*given.controls, shown))
            size = _size_of(shown)
            yield ControlSeen(work.job, number, shown, *size)
        faceless = []
        for index in range(work.request.count):
            task = f"task(darkroom-{uuid.uuid4().hex[:12]})"
            payload = payload_of(work, index, names, given, task)
            fresh = payload["override_settings"].keys() - self._settled
            if fresh:
                await self._server.settle(fresh)
                self._settled |= fresh
            drawing = WebuiDrawing(self._server, names, payload, work, index, self._stopping)
            drawing.hang_after, drawing.preview_every = self._hang_after, self._preview_every
            async with contextlib.aclosing(drawing.events(kind_of(work.request))) as events:
                async for event in events:
                    yield event
            self._version = str(drawing.info.get("version") or "")
            hashes = await hashing
            if other := otherwise(work, index, names, drawing.info, hashes):
                raise EndedError("webui_otherwise", {"what": other})
            picture = await asyncio.to_thread(drawn, drawing.file)
            if picture.convert("L").getextrema() == (0, 0):
                raise EndedError("webui_nan")
            wanted = expressing.left_to_do(work, names)
            if wanted.files:
                picture, none = await self._finished(work, picture, wanted)
                faceless += [index] if none else []
            yield await asyncio.to_thread(finished, picture, work, index, hashes)
        self._faceless = tuple(faceless)

    async def _shown(self, work: Generate, use: ControlUse) -> bytes:
        """A PNG of what a ControlNet is shown. Raises EndedError and HelperError."""
        request = work.request
        picture = await asyncio.to_thread(opaque, work.pictures[use.picture])
        size = request.drawn_size
        if request.inpaint_area == "only masked" and request.init_picture is not None:
            # the extension cuts out what is drawn
            size = opaque(work.pictures[request.init_picture]).size
        if expressing.is_plain(use):
            fitting = ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
            return await asyncio.to_thread(png, fitting)
        file = await asyncio.to_thread(png, picture)
        helper = self._need_helper()
        return await helper.control_picture(work.job, use, file, size, work.annotators)

    async def _finished(
        self, work: Generate, picture: Image.Image, wanted: Finishing
    ) -> tuple[Image.Image, bool]:
        """A picture with that done to it, and whether none of the faces was in it."""
        file = await asyncio.to_thread(png, picture)
        made, none = await self._need_helper().finished(work.job, file, picture.size, wanted)
        return await asyncio.to_thread(layers, made), none

    def _need_helper(self) -> Helper:
        if self._helper is None:
            raise EndedError("internal_error", detail="nothing is there that does it")
        return self._helper


def _given(work: Generate) -> GivenPictures:
    """Its pictures as the project's own engine sees them. Raises Refused."""
    request = work.request
    size = request.width, request.height
    start = mask = None
    if request.init_picture is not None:
        start = opaque(work.pictures[request.init_picture])
    if request.mask is not None and start is not None:
        # of another size it lies over the whole picture
        mask = opaque(work.pictures[request.mask]).convert("L").resize(start.size)
    if start is not None and request.inpaint_area != "only masked":
        start = ImageOps.fit(start, size, Image.Resampling.LANCZOS)
        if mask is not None:
            mask = ImageOps.fit(mask, size, Image.Resampling.LANCZOS)
    return GivenPictures(
        None if start is None else png(start),
        None if mask is None else png(mask),
    )


def _size_of(file: bytes) -> tuple[int, int]:
    """Width and height of a picture."""
    with Image.open(io.BytesIO(file)) as picture:
        return picture.size
