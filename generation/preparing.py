"""From a job to what an engine is told: the files that its request names, wherever they lie now."""

from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, Protocol, TypeVar

import msgspec

from generation import (
    assembly,
    control_uses,
    describing,
    embedding_uses,
    enlarging,
    finishing,
    hires,
    image_prompts,
    mask_words,
    references,
)
from generation.abilities import EDITING
from generation.catalog import Catalog
from generation.families import family_of
from generation.families.control import steering_uses
from generation.job import Job, Provenance
from generation.job_queue import JobQueue
from generation.messages import Describe, EngineWork, Enlarge, Generate
from generation.models import ModelFile, ModelKind
from generation.preprocessors import PREPROCESSORS
from generation.request_parts import ControlUse

Read = TypeVar("Read")


class StoreRead(Protocol):
    """How something is read of the store: at once, or as soon as it can be."""

    def __call__(
        self, act: Callable[[], Coroutine[Any, Any, Read]], /
    ) -> Coroutine[Any, Any, Read]:
        """What `act` returns."""


def at_once(act: Callable[[], Coroutine[Any, Any, Read]], /) -> Coroutine[Any, Any, Read]:
    """A StoreRead that fails where the store does."""
    return act()


async def work_for(job: Job, catalog: Catalog, queue: JobQueue, read: StoreRead) -> EngineWork:
    """Find the files that the request names, and the tagger that checks what comes of it. Raises
    Refused: they may have gone since it was accepted.
    """
    work = found_for(job, catalog, await _first(job, queue, read))
    pictures = {sha256: await read(partial(queue.read_upload, sha256)) for sha256 in work.pictures}
    whole: EngineWork = msgspec.structs.replace(work, pictures=pictures)
    return whole


def found_for(job: Job, catalog: Catalog, first: Provenance | None = None) -> EngineWork:
    """As `work_for`, with its pictures empty; `first` is how the pictures were made that it draws
    again.
    """
    work: EngineWork = _found_for(job, catalog, first)
    checked: EngineWork = msgspec.structs.replace(work, rater=describing.rater_of(catalog))
    return checked


def _found_for(job: Job, catalog: Catalog, first: Provenance | None) -> EngineWork:
    request, made, upscaler = job.request, job.request.enlargement, None
    numerics = first.numerics if first is not None else None

    def pictures(hashes: Iterable[str]) -> dict[str, bytes]:
        return dict.fromkeys(hashes, b"")

    if request.describing is not None:
        shown = pictures({request.describing.picture})
        return Describe(
            str(job.id), request, *describing.files_of(request.describing, catalog), shown
        )
    done_then = finishing.of(request, catalog)
    if made is not None:
        upscaler = enlarging.file_of(made, catalog)
        if request.only_enlarges:
            shown = pictures({made.picture})
            previewed = () if made.control is None else (made.control,)
            return Enlarge(
                str(job.id),
                request,
                upscaler,
                shown,
                numerics,
                done_then,
                annotators=annotators_of(previewed, catalog),
            )
        request = enlarging.second_pass(request)
    checkpoint = catalog.get(ModelKind.CHECKPOINT, request.model)
    if first is not None:
        checkpoint = assembly.as_before(checkpoint, first.hashes, catalog.find)
        if numerics is not None:
            checkpoint = assembly.quantised(checkpoint, numerics.quantised)

    refiner = None
    if request.refiner is not None:
        refiner = catalog.get(ModelKind.CHECKPOINT, request.refiner)

    def part(kind: ModelKind, name: str) -> ModelFile:
        return catalog.get(kind, name).made_for(checkpoint)

    vae = part(ModelKind.VAE, request.vae) if request.vae is not None else None
    if vae is not None:
        checkpoint = assembly.with_vae(checkpoint, vae)
    assembly.check_whole(checkpoint)
    loras = tuple(part(ModelKind.LORA, use.name) for use in request.loras)
    upscaler = upscaler or hires.upscaler_file(request, catalog)
    second = None
    if request.hires is not None and request.hires_model is not None:
        second = catalog.get(ModelKind.CHECKPOINT, request.hires_model)
        if vae is not None:
            second = assembly.with_vae(second, vae)
        assembly.check_whole(second)
    steering = steering_uses(request.controls, checkpoint, refiner, *loras)
    edited = references.of(job.request, family_of(checkpoint))
    before = job.request.init_picture if checkpoint.variant == EDITING and made else None
    adapters = tuple(
        catalog.get(ModelKind.IPADAPTER, prompt.name) for prompt in request.image_prompts
    )
    return Generate(
        job=str(job.id),
        request=request,
        checkpoint=checkpoint,
        loras=loras,
        controlnets=tuple(part(ModelKind.CONTROLNET, use.name) for use in steering),
        pictures=pictures({*request.uploads, *edited, *filter(None, (before,))}),
        references=edited,
        edited=before,
        vae=None if vae in checkpoint.parts.values() else vae,
        refiner=refiner,
        hires_checkpoint=second,
        embeddings=embedding_uses.of(request, checkpoint, catalog),
        one_by_one=job.attempts > 0,
        numerics=numerics,
        enlargement=made,
        upscaler=upscaler,
        annotators=annotators_of(request.controls, catalog),
        adapters=adapters,
        eyes=tuple(dict.fromkeys(image_prompts.eyes_of(file, catalog) for file in adapters)),
        segmenter=mask_words.of(request, catalog),
        finishing=done_then,
    )


def annotators_of(uses: Iterable[ControlUse], catalog: Catalog) -> dict[str, ModelFile]:
    """What control pictures are made with, by what each sees. Raises Refused where it has gone."""
    uses = list(uses)
    for use in uses:
        control_uses.check_preprocessor(use, catalog)
    needs = {need for use in uses for need in PREPROCESSORS[use.preprocessor].needs}
    found = {need: catalog.annotator(need) for need in sorted(needs)}
    return {need: file for need, file in found.items() if file is not None}


async def _first(job: Job, queue: JobQueue, read: StoreRead) -> Provenance | None:
    """What the job was made with that this one draws again, as far as that is known."""
    if job.action != "replay" or job.parent is None:
        return None
    first = await read(partial(queue.get, job.parent))
    return None if first is None else first.provenance
