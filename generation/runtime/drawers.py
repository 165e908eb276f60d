"""What one checkpoint of a job draws with: prompts, ControlNets, its way of sampling."""

import contextlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import torch

from generation.families.control import REPAINT, is_shown_mask, number_of
from generation.masked_pictures import beside
from generation.messages import Generate
from generation.models import ModelFile
from generation.request import GenerationRequest
from generation.request_fields import IMAGE_GUIDANCE
from generation.request_parts import ControlUse
from generation.runtime import control_pictures, loras
from generation.runtime.checkpoints import Checkpoint
from generation.runtime.conditioning import Prompts
from generation.runtime.denoiser import Denoiser
from generation.runtime.encoders import Vectors
from generation.runtime.image_prompts import shown_pictures
from generation.runtime.job_models import JobModels
from generation.runtime.latents import (
    EDITING,
    StartPicture,
    further_channels,
    open_picture,
    pixels_of,
)
from generation.runtime.lora_file import FileStamp
from generation.runtime.masks import Mask
from generation.runtime.memory import Meter
from generation.runtime.model_sampling import LcmSampling, ModelSampling
from generation.runtime.networks.architecture import Network
from generation.runtime.networks.control import Control
from generation.runtime.networks.flux import Flux
from generation.runtime.networks.unet import UNet
from generation.runtime.parts import Parts
from generation.runtime.references import (
    NO_REFERENCES,
    ShownReferences,
    drawn_part,
    seen,
)
from generation.runtime.tiling import Tiles
from generation.samplers import SAMPLERS, sampler_of

HIDDEN: Final = -1.0
"""A pixel as Stable Diffusion 1's ControlNet for inpainting sees it where it draws."""
BLACK: Final = 0.0
"""The same, as a union sees it."""
CFG_PP: Final = 12.5
"""A1111 divides the guidance of CFG++ by it, so that usual ones mean 0 to 1."""


class Drawer(NamedTuple):
    """What one checkpoint draws with."""

    model: Checkpoint
    nets: tuple[Any, ...]
    """The ControlNets that fit it."""
    sampling: ModelSampling
    prompts: Prompts
    network: Network
    beside: torch.Tensor | None
    references: ShownReferences

    @property
    def at_work(self) -> tuple[Any, ...]:
        """The networks that each step takes."""
        return (self.model.denoiser, *self.nets)

    def denoiser(
        self, request: GenerationRequest, tiles: Tiles, after_call: Callable[[], None]
    ) -> Denoiser:
        """What samplers call; `after_call` is told of each call of the network."""
        model, guided = self.model, SAMPLERS[sampler_of(request)].guided
        scale = request.guidance_scale / (CFG_PP if guided else 1)
        keeps_to = request.image_guidance_scale
        if keeps_to is None:
            keeps_to = IMAGE_GUIDANCE
        self.network.done = 0.0
        return Denoiser(
            self.network,
            self.sampling,
            model.family,
            self.prompts,
            scale if model.family.guidance == "cfg" else 1.0,
            tiles,
            model.factor,
            beside=self.beside,
            references=self.references,
            image_guidance=keeps_to if model.further_channels == EDITING else None,
            guided=guided,
            after_call=after_call,
        )


def drawer_of(
    model: Checkpoint,
    job: JobModels,
    work: Generate,
    parts: Parts,
    start: StartPicture | None,
    mask: Mask | None,
    references: ShownReferences,
    tiles: Tiles,
    stop_if_cancelled: Callable[[], None],
    controls_seen: control_pictures.ControlsSeen,
    meter: Meter,
    *,
    passed: int | None = None,
    followed: bool = False,
) -> Drawer:
    """What a checkpoint of the job draws with, its LoRAs merged and its prompts encoded; `passed`
    and `followed` as in `Conditioner.prompts`.
    """
    words, stamps = _words(model, job, work, parts)
    stop_if_cancelled()
    prompts = _prompts(model, work, parts, words, stamps, mask, passed, followed)
    steering = [
        (net, use, file)
        for net, use, file in zip(job.nets, work.steering, work.controlnets, strict=True)
        if job.steered(model, file)
    ]
    controls = []
    for net, use, file in steering:
        with meter.within("prepare"):
            pixels = _pixels(work, use, parts, mask)
        hint = _hint(model, net, work, use, file, parts, mask, tiles, controls_seen, pixels)
        factor = work.request.width // hint.shape[-1]
        kind = number_of(use.kind, file)
        controls.append(Control(net, hint, use.scale, kind, use.start, use.end, factor, use.mode))
    network = model.architecture.network(model.denoiser, controls, work.request.guidance_scale)
    if isinstance(network, UNet | Flux):
        with meter.within("prepare"):
            network.pictures = shown_pictures(work, model, parts)
    return Drawer(
        model,
        tuple(net for net, _, _ in steering),
        _sampling(model, work.request),
        prompts,
        network,
        _beside(model, work, parts, start, mask, tiles, controls_seen),
        references if model.family.references is not None else NO_REFERENCES,
    )


def _words(
    model: Checkpoint, job: JobModels, work: Generate, parts: Parts
) -> tuple[Vectors, tuple[FileStamp, ...]]:
    """The words that it has learned, and what tells their files from others; those of its LoRAs
    too, which are merged into it.
    """
    learned, stamps = parts.embeddings.read(work.embeddings)
    merged = loras.merge(parts.merger, model, work, parts.device, alone=job.alone)
    words: Vectors = {**learned, **merged}
    if model is not job.base:
        # a word that the base has learned is any other word to it
        words = model.conditioner.known(words)
    return words, stamps


def _prompts(
    model: Checkpoint,
    work: Generate,
    parts: Parts,
    words: Vectors,
    stamps: tuple[FileStamp, ...],
    mask: Mask | None,
    passed: int | None,
    followed: bool,
) -> Prompts:
    request = work.request
    merged = tuple(parts.merger.merged(part) for part in model.text_encoders)
    with contextlib.ExitStack() as working:

        def before_encoding() -> None:
            if not at_work:
                at_work.append(parts.residency.at_work(*model.text_encoders))
                working.enter_context(at_work[0])

        at_work: list[contextlib.AbstractContextManager[None]] = []
        return model.conditioner.prompts(
            request.prompt,
            request.negative_prompt if model.family.guidance == "cfg" else None,
            request.steps * SAMPLERS[sampler_of(request)].order,
            clip_skip=request.clip_skip,
            vectors=words,
            changed_by=(merged, stamps, work.references, drawn_part(work, mask)),
            pictures=seen(work, model, mask),
            conventions=request.conventions,
            passed=passed,
            followed=followed,
            before_encoding=before_encoding,
        )


def _sampling(model: Checkpoint, request: GenerationRequest) -> ModelSampling:
    size = (request.width, request.height)
    sampling = model.sampling(request.conventions, size, request.steps)
    consistency = SAMPLERS[sampler_of(request)].consistency
    if consistency and request.conventions == "a1111" and not sampling.flow:
        return LcmSampling(sampling)
    return sampling


def _pixels(work: Generate, use: ControlUse, parts: Parts, mask: Mask | None) -> torch.Tensor:
    """A control picture, at the size that is drawn, and the part of it."""
    return pixels_of(control_pictures.shown(use, work, mask, parts), parts.device)


def _hint(
    model: Checkpoint,
    net: Any,
    work: Generate,
    use: ControlUse,
    file: ModelFile,
    parts: Parts,
    mask: Mask | None,
    tiles: Tiles,
    controls_seen: control_pictures.ControlsSeen,
    pixels: torch.Tensor,
) -> torch.Tensor:
    """A control picture as a ControlNet of that model's make sees it: `pixels`, or latents. What is
    drawn anew is hidden from one for inpainting.

    Sources: lllyasviel, github.com/lllyasviel/ControlNet-v1-1-nightly, whose hidden pixels are -1;
    of xinsir's union diffusers' StableDiffusionXLControlNetUnionInpaintPipeline.
    """
    make = model.architecture.control
    if mask is not None and (is_shown_mask(file) or use.kind == REPAINT):
        hidden = BLACK if use.kind == REPAINT else HIDDEN
        pixels = torch.where(mask.pixels.to(parts.device) > 0, hidden, pixels)
    controls_seen.note(work, use, pixels)
    if make is None:
        return pixels
    with parts.residency.at_work(model.vae):
        return make.latents(net, pixels, lambda shown: StartPicture.of(model, shown, tiles))


def _beside(
    model: Checkpoint,
    work: Generate,
    parts: Parts,
    start: StartPicture | None,
    mask: Mask | None,
    tiles: Tiles,
    controls_seen: control_pictures.ControlsSeen,
) -> torch.Tensor | None:
    """The further channels of a network that has them; without a mask all is drawn anew."""
    if not model.further_channels:
        return None
    followed = None
    if work.followed is not None:
        followed = _pixels(work, work.followed, parts, mask)
        controls_seen.note(work, work.followed, followed)
    if mask is None:
        drawn = torch.ones((1, 1, work.request.height, work.request.width), device=parts.device)
        kept = torch.zeros_like(drawn).expand(-1, 3, -1, -1)
    else:
        drawn = mask.pixels.to(parts.device)
        kept = pixels_of(mask.picture, parts.device)
    with parts.residency.at_work(model.vae):
        if work.edited is not None:
            size = (work.request.width, work.request.height)
            edited = beside(open_picture(work.pictures[work.edited]), mask, size)
            start = StartPicture.of(model, pixels_of(edited, parts.device), tiles)
        comfyui = work.request.conventions == "comfyui"
        return further_channels(model, start, followed, kept, drawn, tiles, comfyui=comfyui)
