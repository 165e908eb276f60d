"""From a job to what an engine is told: the files that its request names, wherever they lie now."""

from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any, Protocol, TypeVar

from generation import embedding_uses, enlarging
from generation.catalog import Catalog
from generation.job import Job
from generation.job_queue import JobQueue
from generation.messages import EngineWork, Enlarge, Generate
from generation.models import ModelFile, ModelKind
from generation.numerics import Numerics

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
    """Find the files that the request names. Raises Refused: they may have gone since it was
    accepted.
    """
    request, made, upscaler = job.request, job.request.enlargement, None
    numerics = await _numerics_of_first(job, queue, read)

    async def pictures(hashes: Iterable[str]) -> dict[str, bytes]:
        return {sha256: await read(partial(queue.read_upload, sha256)) for sha256 in hashes}

    if made is not None:
        upscaler = enlarging.file_of(made, catalog)
        if request.only_enlarges:
            shown = await pictures({made.picture})
            return Enlarge(str(job.id), request, upscaler, shown, numerics)
        request = enlarging.second_pass(request)
    checkpoint = catalog.get(ModelKind.CHECKPOINT, request.model)

    def part(kind: ModelKind, name: str) -> ModelFile:
        return catalog.get(kind, name).made_for(checkpoint)

    return Generate(
        job=str(job.id),
        request=request,
        checkpoint=checkpoint,
        loras=tuple(part(ModelKind.LORA, use.name) for use in request.loras),
        controlnets=tuple(part(ModelKind.CONTROLNET, use.name) for use in request.controls),
        pictures=await pictures(set(request.uploads)),
        vae=part(ModelKind.VAE, request.vae) if request.vae is not None else None,
        refiner=None
        if request.refiner is None
        else catalog.get(ModelKind.CHECKPOINT, request.refiner),
        embeddings=embedding_uses.of(request, checkpoint, catalog),
        one_by_one=job.attempts > 0,
        numerics=numerics,
        enlargement=made,
        upscaler=upscaler,
    )


async def _numerics_of_first(job: Job, queue: JobQueue, read: StoreRead) -> Numerics | None:
    """How the job was computed that this one draws again, as far as that is known."""
    if job.action != "replay" or job.parent is None:
        return None
    first = await read(partial(queue.get, job.parent))
    if first is None or first.provenance is None:
        return None
    return first.provenance.numerics
