"""Pausing, which outlives restarts, and draining: the end once all that was begun is done."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from generation.worker_pool import WorkerPool

log = structlog.get_logger(__name__)

PAUSED: Final = "paused"
DRAIN: Final = "drain"
"""Files in the storage folder that say so."""
LOOK_EVERY: Final = 0.5


class PauseSwitch:
    """Whether anything is drawn, as the owner wants it."""

    def __init__(self, folder: Path, workers: WorkerPool) -> None:
        self._file = folder / PAUSED
        self._workers = workers
        self._tellers: list[Callable[[bool], None]] = []
        self._listeners: list[Callable[[], None]] = []
        if self._file.exists():
            log.warning("drawing is paused; /resume goes on")
            workers.pause()

    @property
    def paused(self) -> bool:
        """Whether nothing new is drawn."""
        return self._workers.paused

    def listen(self, listener: Callable[[], None]) -> None:
        """Have `listener` told of each change, wherever it was wanted."""
        self._listeners.append(listener)

    def relay(self, teller: Callable[[bool], None]) -> None:
        """Have `teller` tell other processes what was wanted here."""
        self._tellers.append(teller)

    def turn(self, paused: bool) -> None:
        """Pause or go on, here and everywhere, after restarts too. Raises OSError."""
        self.follow(paused)
        for teller in self._tellers:
            teller(paused)

    def follow(self, paused: bool) -> None:
        """Do as another process was told. Raises OSError."""
        if paused:
            self._file.touch()
            self._workers.pause()
        else:
            self._file.unlink(missing_ok=True)
            self._workers.resume()
        log.info("drawing is paused" if paused else "drawing goes on")
        for listener in self._listeners:
            listener()


class Drained(Exception):  # noqa: N818 - no error: everything is done
    """All that was begun is done and delivered: the process may end."""


async def drain(folder: Path, workers: WorkerPool, delivering: Callable[[], int]) -> None:
    """Wait until somebody asks the bot to end in order, and until that is possible; `delivering`
    says how many results are on their way. Raises Drained.
    """
    file = folder / DRAIN
    # of an earlier process, which has ended otherwise
    file.unlink(missing_ok=True)
    while not file.exists():  # noqa: ASYNC110 - another process makes it
        await asyncio.sleep(LOOK_EVERY)
    log.info("draining", running=len(workers.running), waiting=workers.waiting)
    workers.pause()
    while workers.running or delivering():  # noqa: ASYNC110 - both are but looked at
        await asyncio.sleep(LOOK_EVERY)
    file.unlink(missing_ok=True)
    log.info("drained", waiting=workers.waiting)
    raise Drained
