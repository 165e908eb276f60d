"""What an action on a finished picture asks for, and whether this machine would make it now."""

import msgspec

from bot.requests.actions import ActionTarget, Source, enlarged, start_from
from generation import completion, templates
from generation.catalog import Catalog
from generation.completion import ENLARGED, Rules
from generation.job import Job, JobState
from generation.models import ModelKind
from generation.preset import Preset
from generation.refusal import Refused
from generation.request import GenerationRequest


class Remade(msgspec.Struct, frozen=True):
    """A request that comes of a job, and whether it may be as large as enlarged pictures."""

    request: GenerationRequest
    enlarging: bool = False


class Remaking:
    """Makes the requests of actions, held to what the settings and the models on disk allow."""

    def __init__(self, catalog: Catalog, rules: Rules) -> None:
        self._catalog = catalog
        self._rules = rules

    def accepts(self, target: ActionTarget, job: Job) -> bool:
        """Whether there is a point in offering an action: nothing here but a person's rights, their
        share or a preset would refuse it. While the models are read for the first time, all is.
        """
        if not self._catalog.scanned:
            return True
        try:
            if target.action.request is not None:
                made = self.by(target, job)
            elif target.action.name == "replay":
                made = Remade(job.request, enlarged(job))
            elif target.action.name == "start":
                self.editable(target, job)
                return True
            else:
                return True
            self.check(made)
        except (Refused, msgspec.ValidationError):
            return False
        return True

    def check(self, made: Remade) -> None:
        """Raise Refused for what this machine can't or may not make."""
        completion.check(made.request, self._catalog, self._rules, enlarging=made.enlarging)

    def by(self, target: ActionTarget, job: Job, drawn_with: Preset | None = None) -> Remade:
        """What an action asks for of a job that was drawn with a preset. Raises Refused."""
        assert target.action.request is not None
        source = self._source(job, target.index, drawn_with)
        if target.action.enlarges:
            side = self._rules.limits.upscaled_side
            if max(source.picture.width, source.picture.height) * ENLARGED > side:
                raise Refused("enlarged_enough", side=side)
        request = target.action.request(source)
        if target.action.name == "reroll" and not request.varied:
            request = templates.redrawn(request, self._rules.wildcards)
        # a reroll of an enlarged picture enlarges once more; whatever else comes of one does not
        enlarging = target.action.enlarges or (target.action.on == "job" and enlarged(job))
        return Remade(request if enlarging else self._brought_back(request, job), enlarging)

    def editable(self, target: ActionTarget, job: Job) -> GenerationRequest:
        """What a dialog shows and begins from: the job's request, or one that starts from a
        picture. Of an enlarged picture it has the size before.
        """
        request = job.request
        if target.action.on == "failed":
            return request
        if target.action.name == "start":
            request = start_from(self._source(job, target.index))
        return self._brought_back(request, job)

    def _brought_back(self, request: GenerationRequest, job: Job) -> GenerationRequest:
        return completion.within_limits(request, self._rules) if enlarged(job) else request

    def _source(self, job: Job, index: int | None, drawn_with: Preset | None = None) -> Source:
        """What an action makes its request from. Raises Refused when it isn't there yet."""
        if job.state is not JobState.FINISHED:
            raise Refused("job_unfinished")
        if index is not None and all(picture.index != index for picture in job.pictures):
            raise Refused("own_picture_gone", job=job.id)
        model = self._catalog.get(ModelKind.CHECKPOINT, job.request.model)
        completion.check_runnable(model)
        count = self._rules.limits.count
        if drawn_with is not None and drawn_with.max_count is not None:
            count = min(count, drawn_with.max_count)
        return Source(job, index, completion.native_size(model), count)
