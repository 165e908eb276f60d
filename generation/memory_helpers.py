"""What the networks beside the drawing ones need of memory: annotators of control pictures, what
sees for IP-Adapters, what finds masks by words, restorers of faces and removers of backgrounds.

Each works on one picture at a time, before the denoiser or after it, so only the largest counts at
once. Their weights take what their files do; what they need beside them is reckoned by the largest
layers' results that are alive together, in float32.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal, get_args

from generation.catalog import Catalog
from generation.describing import rater_of
from generation.families.background_removers import REMOVERS
from generation.families.image_prompts import sees_for
from generation.memory_plan import PlannedHelper
from generation.messages import Finishing, Generate, RuntimeSettings
from generation.models import ONNX, ModelFile
from generation.preprocessors import Annotator

WORKING: Final[Mapping[str, int]] = {
    "depth": 200_000_000,
    "person": 250_000_000,
    "pose": 100_000_000,
    "rater": 300_000_000,
    "eyes": 150_000_000,
    "adapter": 20_000_000,
    "restorer": 500_000_000,
    "detector": 50_000_000,
    "segmenter": 300_000_000,
}
"""Bytes beside the weights of those that always see a picture at one size, by what they do."""
WORKING_PER_PIXEL: Final[Mapping[str, int]] = {"softedge": 640, "lineart": 960}
"""The same for each pixel that is drawn: 64 channels in float32, two or three of them at once."""
Working = tuple[str, ModelFile, int]
"""What one does, its file, and the bytes that it needs beside its weights."""
BACKGROUND: Final = 3700
"""Bytes for each pixel that a remover of backgrounds is given, as BiRefNet's makers measured."""


def helpers_of(work: Generate, *, onnx_on_device: bool) -> tuple[PlannedHelper, ...]:
    """Of a job, in the order in which they work."""
    pixels = work.request.drawn_size[0] * work.request.drawn_size[1]
    return _planned(
        [
            *_segmenter(work.segmenter),
            *_annotators(work.annotators, pixels),
            *_of_prompts(work.eyes, work.adapters),
        ],
        _finishing(work.finishing),
        onnx_on_device=onnx_on_device,
    )


def helpers_there(
    catalog: Catalog, model: ModelFile, size: tuple[int, int], *, onnx_on_device: bool
) -> tuple[PlannedHelper, ...]:
    """All that could be asked for with a checkpoint, each kind once, for pictures of that size."""
    annotators = {
        name: file for name in get_args(Annotator) if (file := catalog.annotator(name)) is not None
    }
    adapters = [file for file in catalog.ipadapters if file.fits(model)][:1]
    eyes = [one for one in catalog.clip_visions if any(sees_for(one, of) for of in adapters)][:1]
    restorers, detectors, removers = (
        next(iter(each), None)
        for each in (catalog.face_restorers, catalog.face_detectors, catalog.background_removers)
    )
    done = Finishing(restorer=restorers, detector=detectors, remover=removers)
    return _planned(
        [
            *_segmenter(next(iter(catalog.segmenters), None)),
            *_annotators(annotators, size[0] * size[1]),
            *_of_prompts(eyes, adapters),
        ],
        _finishing(done),
        onnx_on_device=onnx_on_device,
    )


def held_by_check(catalog: Catalog, settings: RuntimeSettings) -> int:
    """Bytes of the tagger that checks pictures, which stays and works while others are drawn; 0
    where the settings name another check, or none.
    """
    rater = None if settings.picture_check_model else rater_of(catalog)
    return 0 if rater is None else rater.size + WORKING["rater"]


def _planned(
    seen: Iterable[Working], done: Iterable[Working], *, onnx_on_device: bool
) -> tuple[PlannedHelper, ...]:
    phases: tuple[tuple[Literal["prepare", "finish"], Iterable[Working]], ...]
    phases = (("prepare", seen), ("finish", done))
    return tuple(
        PlannedHelper(
            name=file.name,
            phase=phase,
            bytes=file.size,
            work=working,
            place=_place(file, name, onnx_on_device=onnx_on_device),
        )
        for phase, found in phases
        for name, file, working in found
    )


def _place(
    file: ModelFile, name: str, *, onnx_on_device: bool
) -> Literal["aside", "device", "ram"]:
    if name in ("detector", "segmenter"):
        return "ram"  # OpenCV's, and what works there whatever the card is
    if file.path.suffix.casefold() != ONNX:
        return "aside"
    return "device" if onnx_on_device else "ram"


def _annotators(files: Mapping[str, ModelFile], pixels: int) -> Iterator[Working]:
    for name, file in files.items():
        yield name, file, WORKING.get(name, 0) or WORKING_PER_PIXEL[name] * pixels


def _segmenter(file: ModelFile | None) -> Iterator[Working]:
    if file is not None:
        yield "segmenter", file, WORKING["segmenter"]


def _of_prompts(eyes: Iterable[ModelFile], adapters: Iterable[ModelFile]) -> Iterator[Working]:
    yield from (("eyes", file, WORKING["eyes"]) for file in eyes)
    yield from (("adapter", file, WORKING["adapter"]) for file in adapters)


def _finishing(wanted: Finishing) -> Iterator[Working]:
    if wanted.detector is not None:
        yield "detector", wanted.detector, WORKING["detector"]
    if wanted.restorer is not None:
        yield "restorer", wanted.restorer, WORKING["restorer"]
    if wanted.remover is not None:
        side = REMOVERS[wanted.remover.family].side
        yield "remover", wanted.remover, BACKGROUND * side**2
