"""One job, from its request to its pictures; the method `draw` reads like the recipe."""

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, NamedTuple

import torch
from PIL import Image

from generation.families.control import KINDS, USUAL_KIND
from generation.messages import Generate, Picture, Preview, Progress
from generation.numerics import Numerics
from generation.runtime import loras, previews
from generation.runtime.checkpoints import ADAPTER, Checkpoint
from generation.runtime.conditioning import Prompts
from generation.runtime.damage import blame
from generation.runtime.denoiser import Denoiser
from generation.runtime.device import DTYPES, name_of, name_of_dtype
from generation.runtime.faults import CancelledError, JobError, NotFiniteError
from generation.runtime.latents import (
    EDITING,
    StartPicture,
    decode,
    further_channels,
    pixels_of,
    read_picture,
    to_png,
)
from generation.runtime.lessons import Lessons, Plan
from generation.runtime.liveness import beating
from generation.runtime.model_sampling import LcmSampling, ModelSampling
from generation.runtime.networks.unet import Control, UNet
from generation.runtime.noise import Streams
from generation.runtime.parts import Parts
from generation.runtime.samplers import SAMPLING
from generation.runtime.schedules import Timeline, timeline
from generation.runtime.tiling import tiles_of
from generation.samplers import SAMPLERS, sampler_of, schedule_of

CHECK_EVERY = 5
"""Steps between looks at whether the latents are still numbers."""
BEAT_EVERY = 10.0
"""Seconds of a single step after which its progress is said once more."""
WAIT_STEP = 1.0
"""Seconds after which a wait looks up: whether the job is cancelled, and to show life."""

CFG_PP = 12.5
"""A1111 divides the guidance of CFG++ by it, so that usual ones mean 0 to 1."""

Send = Callable[[Progress | Preview | Picture], None]


class Inputs(NamedTuple):
    """What holds for every picture of a job."""

    sampling: ModelSampling
    timeline: Timeline
    prompts: Prompts
    network: UNet
    start: StartPicture | None
    beside: torch.Tensor | None
    colours: torch.Tensor | None
    """Of latents, for previews; None where there are none."""


class Drawing:
    """What one job has in hand.

    `cancelled` tells whether somebody stopped it, `hashes` will have the hashes of its files,
    `unsafe` is the picture check's probability for a picture, or None where there is no check.
    """

    def __init__(
        self,
        work: Generate,
        parts: Parts,
        lessons: Lessons,
        send: Send,
        *,
        cancelled: Callable[[], bool],
        hashes: Future[dict[str, str]],
        unsafe: Callable[[Image.Image], float | None],
        shown: previews.Previews,
        maps: previews.Maps,
    ) -> None:
        self.loaded_at = 0.0
        """When the models were in place, by the monotonic clock."""
        self._work = work
        self._parts = parts
        self._lessons = lessons
        self._send = send
        self._cancelled = cancelled
        self._hashes = hashes
        self._unsafe = unsafe
        self._shown = shown
        self._maps = maps
        first = work.numerics
        self._decode_in = DTYPES[first.vae_precision] if first is not None else None
        request = work.request
        self._sampler_name = sampler_of(request)
        self._sampler = SAMPLERS[self._sampler_name]
        self._tiles = tiles_of(request.width, request.height, request.tile)
        self._steps = request.steps * len(self._tiles)
        """Of each picture."""
        self._calls = 0
        """Of the network within the present step."""
        self._made = 0
        self.numerics: Numerics | None = None
        """How the last picture was computed."""
        self._saves: list[Future[None]] = []
        self._progress = Progress(work.job, "loading", 0, 0)

    def draw(self, plan: Plan) -> None:
        """Make all pictures that were not made yet.

        Raises JobError, NotFiniteError, and whatever tells that memory ran out.
        """
        work = self._work
        self._stage("loading", self._made)
        model = self._parts.checkpoint(work.checkpoint)
        if work.vae is not None:
            model = self._parts.with_vae(model, work.vae)
        nets = [self._controlnet(model, file) for file in work.controlnets]
        self.loaded_at = time.monotonic()
        self._stop_if_cancelled()
        try:
            self._draw(plan, model, nets)
        except NotFiniteError:
            blame(work, model, nets)
            raise
        for save in self._saves:
            save.result()

    def _draw(self, plan: Plan, model: Checkpoint, nets: list[Any]) -> None:
        request = self._work.request
        with (
            torch.no_grad(),
            beating((*model.parts, *nets), self._beat, BEAT_EVERY),
            _frugal(model.vae, plan.frugal),
            ThreadPoolExecutor(1, "save") as saver,
        ):
            inputs = self._inputs(model, nets)
            for first in range(self._made, request.count, plan.batch_size):
                last = min(first + plan.batch_size, request.count)
                with self._parts.residency.at_work(model.denoiser, *nets):
                    latents = self._denoise(inputs, model, first, last)
                self._stage("decoding", last)
                with self._parts.residency.at_work(model.vae):
                    for index, latent in enumerate(latents, first):
                        self._stop_if_cancelled()
                        picture, decoded_in = decode(
                            model,
                            latent,
                            self._tiles,
                            self._lessons,
                            self._decode_in,
                            down=request.conventions == "comfyui",
                        )
                        numerics = self._computed(plan, model, decoded_in)
                        # saved while the next one is drawn
                        self._saves.append(saver.submit(self._save, index, picture, numerics))
                        self.numerics = numerics
                        self._made = index + 1

    def _computed(self, plan: Plan, model: Checkpoint, decoded_in: torch.dtype) -> Numerics:
        device = self._parts.device
        return Numerics(
            batch_size=min(plan.batch_size, self._work.request.count),
            precision=name_of_dtype(self._parts.dtype),
            vae_precision=name_of_dtype(decoded_in),
            frugal=plan.frugal,
            memory=model.denoiser.residency,
            device=name_of(device),
            threads=torch.get_num_threads() if device.type == "cpu" else 0,
        )

    def _inputs(self, model: Checkpoint, nets: list[Any]) -> Inputs:
        request, work = self._work.request, self._work
        residency = self._parts.residency
        size = (request.width, request.height)
        learned, stamps = self._parts.embeddings.read(work.embeddings)
        bundled = loras.merge(self._parts.merger, model, work, self._parts.device)
        self._stop_if_cancelled()
        self._stage("encoding", self._made)
        merged = tuple(self._parts.merger.merged(part) for part in model.text_encoders)
        with residency.at_work(*model.text_encoders):
            prompts = model.conditioner.prompts(
                request.prompt,
                request.negative_prompt,
                request.steps * self._sampler.order,
                clip_skip=request.clip_skip,
                vectors={**learned, **bundled},
                changed_by=(merged, stamps),
                conventions=request.conventions,
            )
        sampling = model.sampling(request.conventions)
        if self._sampler.consistency and request.conventions == "a1111" and not sampling.flow:
            sampling = LcmSampling(sampling)
        start = beside = colours = None
        with residency.at_work(model.vae):
            if request.init_picture is not None:
                start = StartPicture.of(model, self._pixels(request.init_picture), self._tiles)
            beside = further_channels(model, start, *size, self._tiles, self._parts.device)
            if self._shown.wanted:
                colours = self._maps.of(model, self._parts.device)
        controls = [
            Control(
                net,
                self._pixels(use.picture),
                use.scale,
                KINDS[use.kind or USUAL_KIND],
                use.start,
                use.end,
            )
            for net, use in zip(nets, request.controls, strict=True)
        ]
        return Inputs(
            sampling,
            timeline(
                schedule_of(request),
                self._sampler_name,
                sampling,
                request.steps,
                request.denoising_strength if start is not None else None,
                large=bool(model.family.size_conditioning),
            ),
            prompts,
            UNet(model.denoiser, controls),
            start,
            beside,
            colours,
        )

    def _pixels(self, sha256: str) -> torch.Tensor:
        """A picture that was handed in, at the size of what is drawn."""
        request = self._work.request
        picture = read_picture(self._work.pictures[sha256], request.width, request.height)
        return pixels_of(picture, self._parts.device)

    def _controlnet(self, model: Checkpoint, file: Any) -> Any:
        net = self._parts.controlnet(file)
        if file.variant == ADAPTER:
            levels = model.denoiser.config.block_out_channels
            if any(a != b for a, b in zip(net.config.channels, levels, strict=False)):
                raise JobError("controlnet_mismatch", name=file.name, model=model.file.name)
            return net
        for figure in ("cross_attention_dim", "block_out_channels"):
            if net.config[figure] != model.denoiser.config[figure]:
                raise JobError("controlnet_mismatch", name=file.name, model=model.file.name)
        return net

    def _denoise(self, inputs: Inputs, model: Checkpoint, first: int, last: int) -> torch.Tensor:
        """Latents of shape (last - first, C, H / 8, W / 8), as the denoiser left them."""
        request, sigmas = self._work.request, inputs.timeline.sigmas
        seeds, device = request.seeds[first:last], self._parts.device
        count, factor, size = last - first, model.factor, model.family.latents.channels
        shape = (size, request.height // factor, request.width // factor)
        variations, span = request.variations[first:last], inputs.timeline.span
        noise = Streams(seeds, variations, request.conventions, span)
        x = noise.initial(shape).to(device)
        start = None
        if inputs.start is not None:
            sampled = request.conventions == "a1111" and len(sigmas) > 1
            start = inputs.start.latents(x if sampled else None, count)
        if len(sigmas) <= 1:
            assert start is not None
            return start
        whole = self._sampler.timesteps
        x = inputs.sampling.begin(x, inputs.timeline.noise, start, whole=whole)
        x = x * inputs.timeline.gain
        denoiser = Denoiser(
            inputs.network,
            inputs.sampling,
            model.family,
            inputs.prompts,
            request.guidance_scale / (CFG_PP if self._sampler.guided else 1),
            self._tiles,
            model.factor,
            beside=inputs.beside,
            edits=model.denoiser.config.in_channels == size + EDITING,
            guided=self._sampler.guided,
            after_call=lambda: self._after_call(first, count, done, len(sigmas) - 1),
        )
        done = 0
        inputs.network.done = 0.0
        sampler = SAMPLING[self._sampler_name]
        for step in sampler(denoiser, x, sigmas, noise, inputs.sampling):
            self._stop_if_cancelled()
            x, done = step.x, step.number + 1
            inputs.network.done = done / (len(sigmas) - 1)
            if step.number % CHECK_EVERY == 0 and not torch.isfinite(x).all():
                raise NotFiniteError
            self._calls = 0
            self._stage("denoising", first + done / (len(sigmas) - 1) * count)
            if inputs.colours is not None and self._shown.due():
                jpeg = previews.to_jpeg(step.denoised, inputs.colours)
                self._send(Preview(self._work.job, jpeg))
        if not torch.isfinite(x).all():
            raise NotFiniteError
        return x

    def _after_call(self, first: int, count: int, done: int, steps: int) -> None:
        """Behind each tile of each call of the network."""
        self._stop_if_cancelled()
        if len(self._tiles) == 1:
            return
        self._calls += 1
        within = min(1.0, self._calls / (len(self._tiles) * self._sampler.order))
        self._stage("denoising", first + (done + within) / steps * count)

    def _save(self, index: int, picture: Image.Image, numerics: Numerics) -> None:
        request, unsafe = self._work.request, self._unsafe(picture)
        png, pixels = to_png(picture)
        self._send(
            Picture(
                job=self._work.job,
                index=index,
                seed=request.seeds[index],
                variation_seed=request.variation_seeds[index],
                png=png,
                width=picture.width,
                height=picture.height,
                pixels_sha256=pixels,
                hashes=self._wait_for_hashes(),
                unsafe=unsafe,
                numerics=numerics,
            )
        )

    def _wait_for_hashes(self) -> dict[str, str]:
        """A first look at a large file on a slow disk outlasts a picture: show life meanwhile."""
        while not wait((self._hashes,), WAIT_STEP).done:
            self._stop_if_cancelled()
            self._beat()
        return self._hashes.result()

    def _stage(self, stage: Any, pictures_done: float) -> None:
        """Steps are counted over all pictures, so that the bar runs once from left to right."""
        done = round(pictures_done * self._steps)
        whole = self._steps * self._work.request.count
        self._progress = Progress(self._work.job, stage, done, whole)
        self._send(self._progress)

    def _beat(self) -> None:
        self._send(self._progress)

    def _stop_if_cancelled(self) -> None:
        if self._cancelled():
            raise CancelledError


@contextlib.contextmanager
def _frugal(vae: Any, frugal: bool) -> Iterator[None]:
    """Where memory is short the VAE works on small tiles."""
    if frugal:
        for used in (vae, getattr(vae, "float32_copy", vae)):
            used.enable_tiling()
    try:
        yield
    finally:
        for used in (vae, getattr(vae, "float32_copy", vae)):
            used.disable_tiling()
