"""What messages say of a job that the job itself does not hold: what it came of, unknown words."""

from typing import Final

from bot.requests.actions import ACTIONS
from bot.ui.job_embeds import Surroundings
from generation import abilities, control_uses, vocabulary
from generation.catalog import Catalog
from generation.families import FAMILIES
from generation.job import Job
from generation.models import ModelKind
from generation.prompts import spaced_weights
from storage.jobs import JobStore

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
        row = ACTIONS.get(job.action)
        unmade = tuple(control_uses.unmade(job.request.controls, self._catalog))
        # without a row it is a command, and what was typed there is written too
        if (row is not None and not row.written) or model is None:
            return Surroundings(parent, unmade=unmade if job.action == "add_control" else ())
        words = vocabulary.of_model(model)
        unknown = vocabulary.unknown_words(words, job.request.prompt)
        spaced = spaced_weights(f"{job.request.prompt} {job.request.negative_prompt}")
        untold = tuple(net.name for net in control_uses.untold(job.request.controls, self._catalog))
        unread = abilities.unread(job.request, model) if model.family in FAMILIES else ()
        return Surroundings(
            parent, tuple(unknown), words.words[:KNOWN_SHOWN], tuple(spaced), untold, unmade, unread
        )
