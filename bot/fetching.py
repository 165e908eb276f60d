"""Models of the hub are fetched: by a process of its own, which alone speaks to the hub."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

import msgspec
import structlog

from bot.shipped import PROJECT
from generation.catalog import Catalog
from generation.hub import (
    EVENT,
    Fetched,
    FetchEvent,
    Fetching,
    FetchPlan,
    HubModel,
    HuggingFaceSettings,
    NotFetched,
)

log = structlog.get_logger(__name__)

COMMAND: Final = (sys.executable, "-m", "generation.runtime.fetch")
LINE_MAX: Final = 2**24
"""Bytes of a message: the list of a model's files is the longest."""
TOLD_EVERY: Final = 60.0
"""Seconds between two lines of the log on how far it is."""
AGAIN_AFTER: Final = 900.0
"""Seconds after which another try is made where that may do."""
MIB: Final = 2**20
OFFLINE: Final = "offline = true in [huggingface], so nothing is fetched. Write false."


async def fetching(
    settings: HuggingFaceSettings, model: HubModel, command: Sequence[str] = COMMAND
) -> AsyncGenerator[FetchEvent, None]:
    """What happens until a model is there, the last being Fetched or NotFetched.

    Closing the iterator ends it; what was fetched is kept, and gone on with the next time.
    """
    if settings.offline:
        yield NotFetched(OFFLINE)
        return
    process = await asyncio.create_subprocess_exec(
        *command,
        str(model),
        cwd=PROJECT,
        env=settings.environment(os.environ),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        # libraries write there what no owner needs
        stderr=asyncio.subprocess.DEVNULL,
        limit=LINE_MAX,
    )
    assert process.stdout is not None
    ended = False
    try:
        async for line in process.stdout:
            event = EVENT.decode(line)
            ended = isinstance(event, Fetched | NotFetched)
            yield event
        await process.wait()
    except (msgspec.MsgspecError, ValueError):
        pass
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if not ended:
        status = process.returncode
        yield NotFetched(f"The process that fetches ended with status {status}. Try again.")


async def fetch_awaited(settings: HuggingFaceSettings, catalog: Catalog) -> None:
    """Fetch what config.toml names by a model of the hub and does not lie there, one after the
    other; what can't be fetched is said in the log once, and tried again where that may do.
    """
    await catalog.ready()
    settled: set[str] = set()
    said: dict[str, str] = {}
    while waiting := [name for name in catalog.awaited if name not in settled]:
        for name in waiting:
            try:
                end = await _fetched(settings, name, catalog.awaited[name])
                await catalog.scan()
            except Exception:
                # the bot goes on with the models that it has
                log.exception("a model can't be fetched", model=name)
                settled.add(name)
                continue
            why = end.why if isinstance(end, NotFetched) else ""
            if not why and name in catalog.awaited:
                why = "What was fetched is no checkpoint that can be used: see darkroom models."
            if not why:
                log.info("a model was fetched", model=name)
            elif said.get(name) != why:
                log.warning("a model is not there yet", model=name, why=why)
            said[name] = why
            if isinstance(end, Fetched) or end.lasting:
                settled.add(name)
        if any(name not in settled for name in waiting):
            await asyncio.sleep(AGAIN_AFTER)


async def _fetched(
    settings: HuggingFaceSettings, name: str, model: HubModel
) -> Fetched | NotFetched:
    """The last event of a fetch; the log has how far it is."""
    total, told = 0, time.monotonic()
    end: Fetched | NotFetched = NotFetched("Nothing was fetched. Try again.", lasting=False)
    async with aclosing(fetching(settings, model)) as events:
        async for event in events:
            now = time.monotonic()
            if isinstance(event, FetchPlan):
                total = event.total
                mib = (total - event.there) // MIB
                log.info("fetching a model", model=name, hub=str(model), mib=mib)
            elif isinstance(event, Fetched | NotFetched):
                end = event
            elif isinstance(event, Fetching) and now - told > TOLD_EVERY:
                told = now
                share = f"{event.done * 100 // max(total, 1)} %"
                log.info("fetching a model", model=name, there=share, mib=total // MIB)
    return end
