"""The jobs, as the worker sees the store: what `storage.jobs` gives, without knowing it."""

from collections.abc import Sequence
from typing import Protocol

from generation.description import Description
from generation.estimate import Measurement
from generation.job import Failure, Job, PictureRecord, Provenance


class JobQueue(Protocol):
    """Whatever it raises, but for IllegalTransitionError and Refused, is an error of the machine:
    `trouble` tells which of them pass.
    """

    async def waiting_ids(self) -> Sequence[int]:
        """The numbers of all queued jobs, oldest first."""

    async def waiting(self, only: Sequence[int] | None = None) -> Sequence[Job]:
        """The queued jobs, oldest first; with `only`, those of these numbers.

        One that can't be read has failed instead.
        """

    async def measurements(self) -> Sequence[Measurement]:
        """How long recent jobs took, newest first."""

    async def get(self, job_id: int) -> Job | None:
        """A job as it stands."""

    async def claim(self, job_id: int, worker: str = "") -> Job | None:
        """Make a queued job running, leased to that worker; None when it is no longer queued.

        All that is said of it from then on names the job's `lease`, and raises
        IllegalTransitionError where it was claimed anew since: then it is another's.
        """

    async def begin(self, job_id: int, lease: int | None = None) -> None:
        """Note that the pictures of a running job were begun: one more of its `attempts`."""

    async def requeue(
        self, job_id: int, attempts: int | None = None, lease: int | None = None
    ) -> Job:
        """Make a running job queued again, without the pictures it had; with `attempts`, as one
        that was begun only so many times.
        """

    async def add_picture(
        self, job_id: int, picture: PictureRecord, content: bytes, lease: int | None = None
    ) -> None:
        """Keep a finished picture and its file."""

    async def add_control_picture(self, job_id: int, content: bytes) -> str:
        """Keep a control picture as a running job's ControlNet was shown it; returns its hash."""

    async def add_description(
        self, job_id: int, description: Description, lease: int | None = None
    ) -> None:
        """Keep what was seen in the picture that a running job describes."""

    async def finish(self, job_id: int, provenance: Provenance, lease: int | None = None) -> Job:
        """Make a running job finished."""

    async def fail(self, job_id: int, failure: Failure, lease: int | None = None) -> Job:
        """Make a job failed, or cancelled when that is the failure."""

    async def read_upload(self, sha256: str) -> bytes:
        """The file of an init or control picture."""

    def trouble(self, error: Exception) -> str | None:
        """The sentence for an error that may pass, so that the same call is worth another try:
        disk_full, disk_unwritable, database_busy. None for any other.
        """
