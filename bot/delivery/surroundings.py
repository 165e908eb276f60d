"""What messages say of a job that the job itself does not hold: what it came of, unknown words."""

from typing import Final

from bot.ui.job_embeds import Surroundings
from generation import vocabulary
from generation.catalog import Catalog
from generation.job import Job
from generation.models import ModelKind
from storage.jobs import JobStore

WRITTEN: Final = frozenset(("imagine", "edit", "start", "retry"))
"""Actions in which a person writes a prompt; who presses a button has been told already."""
KNOWN_SHOWN: Final = 8


class JobSurroundings:
    """Looks them up."""

    def __init__(self, jobs: JobStore, catalog: Catalog) -> None:
        self._jobs = jobs
        self._catalog = catalog

    async def of(self, job: Job) -> Surroundings:
        """Raises storage.errors.DatabaseError."""
        parent = None if job.parent is None else await self._jobs.get(job.parent)
        model = self._catalog.find(ModelKind.CHECKPOINT, job.request.model)
        if job.action not in WRITTEN or model is None:
            return Surroundings(parent)
        words = vocabulary.of_model(model)
        unknown = vocabulary.unknown_words(words, job.request.prompt)
        return Surroundings(parent, tuple(unknown), words.words[:KNOWN_SHOWN])
