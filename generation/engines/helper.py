"""A process of this program beside a program of others that draws, for what that can't do: it looks
at pictures before anybody else does.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator
from typing import Final

from generation.engines import Engine
from generation.messages import (
    NO_CHECK,
    Describe,
    Described,
    EngineEvent,
    EngineWork,
    Failed,
    RuntimeSettings,
)
from generation.models import ModelFile
from generation.request import undrawn
from generation.request_parts import Describing

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
