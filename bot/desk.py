"""Where people's wishes become jobs: commands, buttons and reactions all come here."""

from bot import policy
from bot.actions import Action
from bot.policy import Person
from generation import draft
from generation.catalog import Catalog
from generation.draft import Given, Rules
from generation.job import Job, JobState, Origin
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.worker import Worker
from storage.jobs import JobStore


class Desk:
    """Checks what is asked for and writes it down. Raises Refused, with what to change."""

    def __init__(self, jobs: JobStore, worker: Worker, catalog: Catalog, rules: Rules) -> None:
        self.jobs = jobs
        self.catalog = catalog
        self.rules = rules
        self._worker = worker

    async def ask(self, given: Given, origin: Origin) -> Job:
        """A request from what a person gave, defaults filled in."""
        return await self._add(draft.complete(given, self.catalog, self.rules), origin)

    async def act(self, action: Action, job: Job, person: Person, origin: Origin) -> Job | None:
        """Do an action; returns the new job where it asks for new pictures."""
        if action.owner_only:
            policy.check_control(job, person)
        if action.request is not None:
            if job.state is not JobState.FINISHED:
                raise Refused("job_unfinished")
            request = action.request(job)
            draft.check(request, self.catalog, self.rules)
            return await self._add(request, origin, action=action.name, parent=job.id)
        if action.name == "cancel":
            await self._cancel(job)
        return None

    async def _add(
        self,
        request: GenerationRequest,
        origin: Origin,
        action: str = "imagine",
        parent: int | None = None,
    ) -> Job:
        waiting = await self.jobs.count_waiting(origin.user_id)
        policy.check_waiting(waiting, self.rules.limits.waiting)
        job = await self.jobs.add(request, origin, action=action, parent=parent)
        self._worker.wake()
        return job

    async def _cancel(self, job: Job) -> None:
        cancelled = await self.jobs.cancel_waiting(job.id)
        if cancelled is not None:
            self._worker.tell(cancelled)
            return
        now = await self.jobs.get(job.id)
        if now is None or now.ended:
            raise Refused("job_ended")
        await self._worker.cancel(job.id)
