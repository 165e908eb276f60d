"""What an action on a finished picture asks for, and whether this machine would make it now."""

from typing import Final

import msgspec

from bot.requests.actions import ActionTarget
from bot.requests.derived import Source, afresh, drawn, enlarged, start_from
from generation import (
    checks,
    control_uses,
    describing,
    drafting,
    edit_models,
    finishing,
    hires_choice,
    outpainting,
    templates,
)
from generation.catalog import Catalog
from generation.enlarging import DRAWS_DETAIL, NO_WISH, Wish, of_picture
from generation.families import FAMILIES, family_of
from generation.job import Job, JobState, PictureRecord
from generation.models import ModelKind
from generation.outpainting import Sides
from generation.preset import Preset
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.request_fields import FIDELITY, SIDE_STEP
from generation.request_parts import Describing, DescriptionStyle, Enlargement, Faces
from generation.rules import Rules, native_size, shaped, within_limits

USUAL_FACES: Final = Faces()


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
            elif target.action.name == "imagine_this":
                return job.description is not None and bool(job.description.prompt)
            elif target.action.name == "redraw":
                made = Remade(self.redrawn(target, job))
            elif target.action.name == "start":
                self.editable(target, job)
                return True
            elif target.action.name == "extend":
                made = Remade(self.extended(target, job, outpainting.ALL_AROUND))
            elif target.action.name == "add_control":
                return bool(control_uses.addable(self.editable(target, job), self._catalog))
            elif target.action.name == "edit_words":
                return bool(edit_models.models_here(self._catalog, self._rules) and job.pictures)
            else:
                return True
            self.check(made)
        except (Refused, msgspec.ValidationError):
            return False
        return True

    def check(self, made: Remade) -> None:
        """Raise Refused for what this machine can't or may not make."""
        checks.check(made.request, self._catalog, self._rules, enlarging=made.enlarging)

    def by(
        self,
        target: ActionTarget,
        job: Job,
        drawn_with: Preset | None = None,
        wish: Wish = NO_WISH,
    ) -> Remade:
        """What an action asks for of a job that was drawn with a preset; `wish` says how a picture
        is enlarged. Raises Refused.
        """
        assert target.action.request is not None
        source = self._source(
            target, job, drawn_with, target.action.wish if wish == NO_WISH else wish
        )
        request = target.action.request(source)
        again = target.action.name == "reroll" and request.enlargement is None
        if again and not request.varied:
            request = templates.redrawn(request, self._rules.wildcards)
        # a reroll of what was drawn so large is as large; whatever else comes of it is not
        as_large = target.action.on == "job" and enlarged(job)
        return Remade(request if as_large else self._brought_back(request, job), as_large)

    def enlarge(
        self,
        picture: str,
        size: tuple[int, int],
        wish: Wish,
        usual: Wish = NO_WISH,
        model: str = "",
        faces: Faces = USUAL_FACES,
    ) -> Enlargement:
        """How a picture of that hash and size in pixels is made larger, and what is done to it:
        as somebody wishes, or else as is usual with their preset. The model of that name draws the
        second pass, if there is any; `faces` says how they are restored. Raises Refused.
        """
        rules, native, step = self._rules, 0, SIDE_STEP
        file = self._catalog.find(ModelKind.CHECKPOINT, model) if model else None
        family = FAMILIES.get(file.family) if file is not None else None
        if file is not None and family is not None and "image_to_image" in family.abilities:
            native, step = native_size(file), family.side_step
        if wish.second_pass and native < DRAWS_DETAIL:
            code = "second_pass_small" if model else "second_pass_unknown"
            raise Refused(code, model=model, side=DRAWS_DETAIL)
        side, wish = rules.limits.upscaled_side, wish.over(usual)
        made = of_picture(
            picture, size, wish, self._catalog, rules.enlarging, side=side, native=native, step=step
        )
        if wish.cutout:
            by = finishing.remover(finishing.USUAL, self._catalog).name
            made = msgspec.structs.replace(made, cutout=by)
        if wish.faces == "none":
            return made
        by = finishing.restorer(faces.model, self._catalog).name
        finishing.detector(self._catalog)
        restored = msgspec.structs.replace(faces, which=wish.faces, model=by)
        return msgspec.structs.replace(made, faces=restored)

    def _in_shape(self, request: GenerationRequest, source: Source) -> GenerationRequest:
        """One that starts from a picture in the shape of that, where it is not the shape that was
        drawn: a larger canvas, or a picture that was drawn in part.
        """
        picture, before = source.picture, source.job.request
        drawn_so = (picture.width, picture.height) == (request.width, request.height)
        model = self._catalog.find(ModelKind.CHECKPOINT, request.model)
        larger = before.enlargement is not None or before.hires is not None
        if drawn_so or larger or model is None:
            return request
        area, ratio = request.width * request.height, picture.width / picture.height
        width, height = shaped(model, ratio, area, self._rules.limits)
        return request.with_(width=width, height=height)

    def redrawn(self, target: ActionTarget, job: Job) -> GenerationRequest:
        """What draws a part of a picture anew, once it has a mask. Raises Refused."""
        source = self._source(target, job)
        request = self._in_shape(start_from(source), source)
        return self._brought_back(request.with_(denoising_strength=1.0), job)

    def extended(self, target: ActionTarget, job: Job, sides: Sides) -> GenerationRequest:
        """What draws around a picture of a job. Raises Refused."""
        source = self._source(target, job)
        return self._extended(job, source.picture, sides)

    def _extended(self, job: Job, picture: PictureRecord, sides: Sides) -> GenerationRequest:
        model = self._catalog.get(ModelKind.CHECKPOINT, drawn(job).model)
        size, limits = (picture.width, picture.height), self._rules.limits
        return afresh(outpainting.extended(job.request, picture.file, size, sides, model, limits))

    def describe(
        self, picture: str, size: tuple[int, int], style: DescriptionStyle | None = None
    ) -> Describing:
        """How a picture of that hash and size in pixels is described. Raises Refused."""
        return describing.of_picture(picture, size, style, self._catalog, self._rules.describing)

    def editable(self, target: ActionTarget, job: Job) -> GenerationRequest:
        """What a dialog shows and begins from: the job's request, or one that starts from a
        picture. Of an enlarged picture it has the size before.
        """
        request = job.request
        if target.action.on == "failed":
            return request
        if target.action.name == "start":
            source = self._source(target, job)
            request = self._in_shape(start_from(source), source)
            model = self._catalog.find(ModelKind.CHECKPOINT, request.model)
            if model is not None and family_of(model).references is not None:
                # the picture is edited, and drawn from noise alone
                request = request.with_(denoising_strength=1.0)
        elif request.enlargement is not None:
            request = drawn(job)
        return self._brought_back(request, job)

    def _brought_back(self, request: GenerationRequest, job: Job) -> GenerationRequest:
        return within_limits(request, self._rules) if enlarged(job) else request

    def _source(
        self,
        target: ActionTarget,
        job: Job,
        drawn_with: Preset | None = None,
        wish: Wish = NO_WISH,
    ) -> Source:
        """What an action makes its request from. Raises Refused when it isn't there yet."""
        index = target.index
        if job.state is not JobState.FINISHED:
            raise Refused("job_unfinished")
        if index is not None and all(picture.index != index for picture in job.pictures):
            raise Refused("own_picture_gone", job=job.id)
        if target.action.draws and job.request.prompt:
            model = self._catalog.get(ModelKind.CHECKPOINT, job.request.model)
            checks.check_runnable(model, job.request.vae)
        count, usual = self._rules.limits.count, NO_WISH
        if drawn_with is not None:
            usual = Wish(upscaler=drawn_with.upscaler, second_pass=drawn_with.second_pass)
            if drawn_with.max_count is not None:
                count = min(count, drawn_with.max_count)

        def enlarge(picture: PictureRecord) -> Enlargement:
            size = (picture.width, picture.height)
            faces = _faces(job.request, drawn_with)
            return self.enlarge(picture.file, size, wish, usual, job.request.model, faces)

        def larger(request: GenerationRequest) -> GenerationRequest:
            return hires_choice.added(request, self._catalog, self._rules)

        def extend(picture: PictureRecord, sides: Sides) -> GenerationRequest:
            return self._extended(job, picture, sides)

        def describe(picture: PictureRecord) -> Describing:
            return self.describe(picture.file, (picture.width, picture.height))

        def in_full(request: GenerationRequest) -> GenerationRequest:
            return drafting.in_full(request, self._catalog, self._rules)

        return Source(
            job=job,
            index=index,
            enlarge=enlarge,
            extend=extend,
            describe=describe,
            count_max=count,
            larger=larger,
            in_full=in_full,
        )


def _faces(request: GenerationRequest, preset: Preset | None) -> Faces:
    """How faces are restored that are restored later: as those that were drawn, or as the preset
    has it.
    """
    drawn_so = request.faces_drawn
    if drawn_so is not None or preset is None:
        return drawn_so or Faces()
    strength, fidelity = preset.face_strength, preset.face_fidelity
    return Faces(
        model=preset.face_model or "",
        strength=1.0 if strength is None else strength,
        fidelity=FIDELITY if fidelity is None else fidelity,
    )
