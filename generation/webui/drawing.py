"""One picture, from a webui's queue to its file."""

import asyncio
import contextlib
import io
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final, Literal

from generation.hires import second_steps
from generation.messages import EngineEvent, Generate, Preview, Progress
from generation.programs.faults import EndedError, ServerError
from generation.programs.pictures import drawn
from generation.webui.names import WebuiNames
from generation.webui.server import StateSeen, TaskPlace, WebuiServer

LOOK_EVERY: Final = 0.4
"""Seconds between the looks at how far it is."""
LOADING_FACTOR: Final = 5
"""Loading a checkpoint, decoding and enlarging say nothing for long."""
PREVIEW_SIDE: Final = 512
"""Pixels of a preview's longer side, at most."""


class WebuiDrawing:
    """One picture, from a webui's queue to its file."""

    hang_after = 120.0
    preview_every = 1.0

    def __init__(
        self,
        server: WebuiServer,
        names: WebuiNames,
        payload: Mapping[str, Any],
        work: Generate,
        index: int,
        stopping: asyncio.Event,
    ) -> None:
        self.file = b""
        """The finished picture."""
        self.info: Mapping[str, Any] = {}
        """What the webui says of it."""
        self._server = server
        self._names = names
        self._payload = payload
        self._work = work
        self._stopping = stopping
        request = work.request
        second = 0 if request.hires is None else second_steps(request)
        self._steps = request.steps, second
        self._before = index * sum(self._steps)
        self._total = request.count * sum(self._steps)
        self._task = str(payload["force_task_id"])
        self._place: TaskPlace = "unknown"
        self._others = ""
        """When the job began that the webui was at before this one."""
        self._free = False
        """Whether it was at none."""
        self._stopped = False
        """Whether somebody has stopped the picture there."""
        self._shown = -1
        """The number of the last preview."""
        self._previewed = float("-inf")

    async def events(self, kind: str) -> AsyncGenerator[EngineEvent, None]:
        """What happens until the picture is there. Raises EndedError and ServerError.

        However it ends before that, the webui is told to leave it.
        """
        before, _ = await self._server.seen()
        self._others, self._free = before.started, not before.busy
        drawing = asyncio.ensure_future(self._server.draw(kind, self._payload))
        try:
            async with contextlib.aclosing(self._followed(drawing)) as events:
                async for event in events:
                    yield event
        finally:
            if not drawing.done():
                self._server.leave(asyncio.ensure_future(self._left(drawing)))
        said = await drawing
        self.info, images = said["info"], said["images"]
        first = int(self.info.get("index_of_first_image", 0))
        # a picture that was stopped comes as if it were whole
        last, _ = await self._server.seen()
        if last.started == self.info.get("job_timestamp") and last.stopped:
            self._stopped = True
        if self._stopped:
            raise EndedError("webui_interrupted")
        if first >= len(images):
            raise EndedError("webui_failed", {"why": "no picture came"})
        self.file = images[first]

    async def _followed(
        self, drawing: "asyncio.Future[Mapping[str, Any]]"
    ) -> AsyncGenerator[EngineEvent, None]:
        """How far it is, until it is drawn."""
        stopped = asyncio.ensure_future(self._stopping.wait())
        changed, last = time.monotonic(), None
        try:
            while True:
                await asyncio.wait(
                    (drawing, stopped), timeout=LOOK_EVERY, return_when=asyncio.FIRST_COMPLETED
                )
                if drawing.done():
                    return
                if stopped.done():
                    raise EndedError("cancelled")
                seen, shown = await self._look()
                if self._place == "waiting" or seen != last:
                    changed, last = time.monotonic(), seen
                steady = 0 < seen.step < seen.steps
                patience = self.hang_after * (1 if steady else LOADING_FACTOR)
                if time.monotonic() - changed > patience:
                    raise EndedError("worker_hung", detail=f"silent for {patience:g} s")
                if self._place != "running":
                    continue
                self._stopped = self._stopped or seen.stopped
                yield self._progress(seen)
                if shown is not None:
                    preview = await asyncio.to_thread(_small, shown)
                    if preview:
                        yield Preview(self._work.job, preview)
        finally:
            stopped.cancel()

    async def _look(self) -> tuple[StateSeen, bytes | None]:
        """What the webui does, and a preview where one is due."""
        now = time.monotonic()
        due = bool(self.preview_every) and now - self._previewed >= self.preview_every
        shown = None
        if self._names.tells:
            self._place, number, shown = await self._server.task(
                self._task, self._shown, picture=due
            )
            seen, _ = await self._server.seen()
            if number != self._shown:
                self._shown = number
            else:
                shown = None
        else:
            seen, _ = await self._server.seen()
            # without its page it does not say whose job it is at: the next one, if it was at none
            mine = self._free and seen.busy and seen.started != self._others
            self._place = "running" if mine else "unknown"
            if mine and due:
                seen, shown = await self._server.seen(picture=True)
        if shown is not None:
            self._previewed = now
        return seen, shown

    def _progress(self, seen: StateSeen) -> Progress:
        stage: Literal["loading", "denoising", "hires", "decoding"] = "denoising"
        first, second = self._steps
        share = seen.step / seen.steps if seen.steps else 0.0
        if seen.passes == 0:
            done = round(first * share)
            stage = "denoising" if done else "loading"
        elif seen.passes == 1 and second:
            done, stage = first + round(second * share), "hires"
        else:
            done, stage = first + second, "decoding"
        return Progress(self._work.job, stage, self._before + done, self._total)

    async def _left(self, drawing: "asyncio.Future[Mapping[str, Any]]") -> None:
        """Have the webui stop the picture, as soon as it is at it; never what others have drawn.

        It is told so once, and not within the last step: what it is at when it hears that would be
        the next.
        """
        told = False
        try:
            while not drawing.done():
                with contextlib.suppress(ServerError):
                    seen, _ = await self._look()
                    if self._place == "running" and not told and not self._nearly_over(seen):
                        told = True
                        await self._server.interrupt()
                await asyncio.wait((drawing,), timeout=LOOK_EVERY)
        finally:
            drawing.cancel()
            await asyncio.gather(drawing, return_exceptions=True)

    def _nearly_over(self, seen: StateSeen) -> bool:
        last = 1 if self._steps[1] else 0
        return seen.passes > last or (
            seen.passes == last and seen.steps > 0 and seen.step >= seen.steps - 1
        )


def _small(shown: bytes) -> bytes:
    """A JPEG of what a picture looks like so far; none where that can't be read."""
    try:
        picture = drawn(shown)
    except EndedError:
        return b""
    picture.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80)
    return file.getvalue()
