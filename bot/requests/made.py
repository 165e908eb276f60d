"""What is done with requests that are there, and with all that somebody has."""

from generation.job import Job
from generation.refusal import Refused
from generation.worker_pool import WorkerPool
from storage.personal_data import Deleted
from storage.store import Store


class MadeRequests:
    """Requests that are written down. Raises Refused where it can't be done."""

    def __init__(self, store: Store, workers: WorkerPool) -> None:
        self._store = store
        self._workers = workers

    async def cancel(self, job: Job) -> None:
        """Stop a job: at once where it waits, at its next step where it runs."""
        cancelled = await self._store.jobs.cancel_waiting(job.id)
        if cancelled is not None:
            self._workers.tell(cancelled)
            return
        now = await self._store.jobs.get(job.id)
        if now is None or now.ended:
            raise Refused("job_ended")
        await self._workers.cancel(job.id)

    async def is_favourite(self, user_id: int, job: Job, index: int | None) -> bool:
        """Whether a picture, or every picture of a job, is among somebody's favourites."""
        return all(
            [
                await self._store.history.is_favourite(user_id, job.id, position)
                for position in _positions(job, index)
            ]
        )

    async def set_favourite(self, user_id: int, job: Job, index: int | None, on: bool) -> None:
        """Put a picture, or all pictures of a job, among somebody's favourites or take them out."""
        for position in _positions(job, index):
            await self._store.history.set_favourite(user_id, job.id, position, on)

    async def forget(self, user_id: int) -> Deleted:
        """Delete all that is kept about somebody; what waits is cancelled first.

        Raises Refused, and cancels nothing, while something of theirs runs.
        """
        if await self._store.jobs.running_of(user_id):
            raise Refused("delete_while_running")
        for job in await self._store.jobs.waiting():
            if job.origin.user_id == user_id:
                await self.cancel(job)
        return await self._store.personal.delete(user_id)

    async def forget_job(self, job: Job) -> Deleted:
        """Delete one request and its pictures."""
        if not job.ended:
            raise Refused("job_unfinished")
        return await self._store.personal.delete_job(job.id)

    async def was_told(self, user_id: int, what: str) -> bool:
        """Whether somebody has been told this before."""
        return await self._store.settings.noticed(user_id, what)

    async def note_told(self, user_id: int, what: str) -> None:
        """Somebody has been told this, and is not told again."""
        await self._store.settings.notice(user_id, what)


def _positions(job: Job, index: int | None) -> list[int]:
    return [picture.index for picture in job.pictures if index is None or picture.index == index]
