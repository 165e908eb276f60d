"""What makes pictures: one small interface, and the engines that have it."""

from collections.abc import AsyncGenerator
from typing import Protocol

from generation.job import Failure
from generation.messages import EngineEvent, EngineWork, Ready


class EngineError(Exception):
    """The engine could not start or broke; its text is for the log.

    Where the settings are at fault, `failure` is the sentence that says so.
    """

    def __init__(self, text: str, failure: Failure | None = None) -> None:
        super().__init__(text)
        self.failure = failure


class Engine(Protocol):
    """Makes the pictures of one job at a time."""

    @property
    def ready(self) -> Ready | None:
        """What pictures are made on, once it has started."""

    async def start(self) -> Ready:
        """Start and wait until it can take a job. Raises EngineError when it can't."""

    def generate(self, work: EngineWork) -> AsyncGenerator[EngineEvent, None]:
        """The events of one job as they come; the last is Finished or Failed, never an exception.

        An engine that died or hangs is started anew by the next call, and the job that it had ends
        with Failed(code="worker_died" or "worker_hung"). With settings that it can't work with, the
        job ends with the sentence that names them. Whatever else was handed ahead is taken back.
        """

    def hand_ahead(self, work: EngineWork) -> bool:
        """Have a job follow the running one at once, before anybody asks `generate` for its events.

        False where nothing runs, or something was handed ahead before. Where the engine dies first,
        nothing is said of it: it was not begun.
        """

    def withdraw(self, job: str) -> None:
        """Take back a job that was handed ahead and not asked for; begun meanwhile, it stops."""

    async def cancel(self, job: str) -> None:
        """Ask the running job to stop; unknown jobs are none of its business."""

    async def stop(self) -> None:
        """End; a running job ends with Failed(code="worker_died")."""
