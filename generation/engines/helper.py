"""A process of this program beside a program of others that draws, for what that can't do: it looks
at pictures before anybody else does, makes control pictures, restores faces, removes backgrounds.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, Mapping
from typing import Final

import msgspec

from generation.engines import Engine
from generation.enlarging import NO_UPSCALER
from generation.messages import (
    NO_CHECK,
    Describe,
    Described,
    EngineEvent,
    EngineWork,
    Enlarge,
    Failed,
    Finished,
    Finishing,
    Picture,
    RuntimeSettings,
)
from generation.models import ModelFile
from generation.request import undrawn
from generation.request_parts import ControlUse, Describing, Enlargement

RESTS: Final = 600.0
"""Seconds without work after which it is ended: torch alone takes hundreds of megabytes."""


class HelperError(Exception):
    """What it was asked came to nothing; `failed` says why."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.code, failed.detail)
        self.failed = failed


class Helper:
    """One for all who draw elsewhere: `engine` is started by the first thing that it is asked, and
    does one after the other.
    """

    def __init__(self, engine: Engine, settings: RuntimeSettings, *, rests: float = RESTS) -> None:
        self._engine = engine
        self._named = settings.picture_check_model
        self._rests = rests
        self._turn = asyncio.Lock()
        self._resting: asyncio.Task[None] | None = None
        self._current = ""
        """The job that it does something for."""

    def checks(self, rater: ModelFile | None) -> bool:
        """Whether pictures are to be looked at: by what the settings name, or by that tagger."""
        return self._named != NO_CHECK and (bool(self._named) or rater is not None)

    async def unsafe(
        self, job: str, png: bytes, size: tuple[int, int], rater: ModelFile | None
    ) -> float | None:
        """How unsafe a picture is, as in `Picture`; None where nothing is to look at it. Raises
        HelperError, also where nothing came of it: no picture goes unchecked.
        """
        if not self.checks(rater):
            return None
        sha256 = hashlib.sha256(png).hexdigest()
        request = undrawn(describing=Describing(sha256, *size))
        work = Describe(job, request, None, None, {sha256: png}, rater)
        found = None
        async with contextlib.aclosing(self.events(work)) as events:
            async for event in events:
                if isinstance(event, Described):
                    found = event.description.unsafe
        if found is None:
            why = "it says nothing of a picture"
            raise HelperError(Failed(job, "picture_check_broken", {"why": why}))
        return found

    async def control_picture(
        self,
        job: str,
        use: ControlUse,
        png: bytes,
        size: tuple[int, int],
        annotators: Mapping[str, ModelFile],
    ) -> bytes:
        """A PNG of what a ControlNet is shown of an opaque picture, of width and height `size`.
        Raises HelperError.
        """
        made, work = _kept(job, png, size)
        request = undrawn(enlargement=msgspec.structs.replace(made, control=use))
        found = await self._picture(
            msgspec.structs.replace(work, request=request, annotators=dict(annotators))
        )
        return found[0]

    async def finished(
        self, job: str, png: bytes, size: tuple[int, int], wanted: Finishing
    ) -> tuple[bytes, bool]:
        """A PNG of a picture of that size with that done to it, and whether none of the faces was
        in it that were meant. Raises HelperError.
        """
        made, work = _kept(job, png, size)
        cutout = wanted.remover.name if wanted.remover is not None else ""
        made = msgspec.structs.replace(made, faces=wanted.faces, cutout=cutout)
        request = undrawn(enlargement=made)
        return await self._picture(msgspec.structs.replace(work, request=request, finishing=wanted))

    async def _picture(self, work: Enlarge) -> tuple[bytes, bool]:
        file, faceless = b"", False
        async with contextlib.aclosing(self.events(work)) as events:
            async for event in events:
                if isinstance(event, Picture):
                    file = event.file
                elif isinstance(event, Finished):
                    faceless = bool(event.faceless)
        return file, faceless

    async def events(self, work: EngineWork) -> AsyncGenerator[EngineEvent, None]:
        """Those of a job of its own, but for its failure. Raises HelperError."""
        async with self._turn:
            self._rest_no_more()
            self._current = work.job
            try:
                async with contextlib.aclosing(self._engine.generate(work)) as events:
                    async for event in events:
                        if isinstance(event, Failed):
                            raise HelperError(event)
                        yield event
            finally:
                self._current = ""
                self._resting = asyncio.create_task(self._rest())

    async def cancel(self, job: str) -> None:
        """Stop what it does for a job, if it does."""
        if job == self._current:
            await self._engine.cancel(job)

    async def stop(self) -> None:
        """End it."""
        self._rest_no_more()
        await self._engine.stop()

    async def _rest(self) -> None:
        await asyncio.sleep(self._rests)
        async with self._turn:
            self._resting = None
            await self._engine.stop()

    def _rest_no_more(self) -> None:
        resting, self._resting = self._resting, None
        if resting is not None:
            resting.cancel()


def _kept(job: str, png: bytes, size: tuple[int, int]) -> tuple[Enlargement, Enlarge]:
    """A picture that stays as large as it is, and the job about it."""
    sha256 = hashlib.sha256(png).hexdigest()
    made = Enlargement(sha256, NO_UPSCALER, *size, *size)
    return made, Enlarge(job, undrawn(enlargement=made), None, {sha256: png})
