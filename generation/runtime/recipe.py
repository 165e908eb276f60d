"""One job, from its request to its pictures; the method `draw` reads like the recipe."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import torch
from PIL import Image

from generation.families.control import KINDS, USUAL_KIND
from generation.messages import Generate, Preview
from generation.models import ModelFile
from generation.numerics import Numerics
from generation.runtime import loras, previews
from generation.runtime.checkpoints import ADAPTER, Checkpoint
from generation.runtime.conditioning import Prompts
from generation.runtime.damage import blame
from generation.runtime.denoiser import Denoiser
from generation.runtime.device import DTYPES, name_of, name_of_dtype
from generation.runtime.encoders.clip import Vectors
from generation.runtime.enlargement import enlarged
from generation.runtime.faults import JobError, NotFiniteError
from generation.runtime.hand_over import HandOver
from generation.runtime.latents import (
    EDITING,
    StartPicture,
    decode,
    fitted,
    further_channels,
    open_picture,
    pixels_of,
)
from generation.runtime.lessons import Lessons, Plan
from generation.runtime.liveness import beating
from generation.runtime.model_sampling import LcmSampling, ModelSampling
from generation.runtime.networks.unet import Control, UNet
from generation.runtime.noise import Streams
from generation.runtime.parts import Parts, latents_of
from generation.runtime.report import JobReport, Send
from generation.runtime.samplers import SAMPLING
from generation.runtime.schedules import Timeline, timeline
from generation.runtime.tiling import tiles_of
from generation.runtime.tuning import Tuned
from generation.samplers import SAMPLERS, sampler_of, schedule_of

CHECK_EVERY = 5
"""Steps between looks at whether the latents are still numbers."""
BEAT_EVERY = 10.0
"""Seconds of a single step after which its progress is said once more."""

CFG_PP = 12.5
"""A1111 divides the guidance of CFG++ by it, so that usual ones mean 0 to 1."""


class Drawer(NamedTuple):
    """What one checkpoint draws with."""

    model: Checkpoint
    nets: tuple[Any, ...]
    """The ControlNets that fit it."""
    sampling: ModelSampling
    prompts: Prompts
    network: UNet
    beside: torch.Tensor | None

    @property
    def at_work(self) -> tuple[Any, ...]:
        """The networks that each step takes."""
        return (self.model.denoiser, *self.nets)


class Inputs(NamedTuple):
    """What holds for every picture of a job."""

    drawers: tuple[Drawer, ...]
    """One, or two of which the second, the refiner, draws the last steps."""
    timeline: Timeline
    start: StartPicture | None
    colours: torch.Tensor | None
    """Of latents, for previews; None where there are none."""

    @property
    def base(self) -> Drawer:
        return self.drawers[0]


class Drawing(JobReport):
    """What one job has in hand."""

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
        request = work.request
        self._tiles = tiles_of(request.width, request.height, request.tile)
        super().__init__(
            work,
            send,
            steps=request.steps * len(self._tiles),
            cancelled=cancelled,
            hashes=hashes,
            unsafe=unsafe,
        )
        self._work = work
        self._parts = parts
        self._lessons = lessons
        self._shown = shown
        self._maps = maps
        first = work.numerics
        self._decode_in = DTYPES[first.vae_precision] if first is not None else None
        self._sampler_name = sampler_of(request)
        self._sampler = SAMPLERS[self._sampler_name]
        self._calls = 0
        """Of the network within the present step."""
        self._made = 0
        self._saves: list[Future[None]] = []

    def draw(self, plan: Plan) -> None:
        """Make all pictures that were not made yet.

        Raises JobError, NotFiniteError, and whatever tells that memory ran out.
        """
        work = self._work
        self._stage("loading", self._made)
        model = self._parts.checkpoint(work.checkpoint)
        if work.vae is not None:
            model = self._parts.with_vae(model, work.vae)
        models = [model]
        if work.refiner is not None and work.request.refiner_switch < 1:
            models.append(self._refiner(work.refiner, model))
        nets = [self._controlnet(model, file) for file in work.controlnets]
        self.loaded_at = time.monotonic()
        self._stop_if_cancelled()
        try:
            self._draw(plan, models, nets)
        except NotFiniteError:
            for each in models:
                blame(work, each, nets)
            raise
        for save in self._saves:
            save.result()

    def _refiner(self, file: ModelFile, base: Checkpoint) -> Checkpoint:
        """Beside the base, whose latents it must have."""
        refiner = self._parts.checkpoint(file, beside=base.file)
        if self._work.vae is not None:
            return self._parts.with_vae(refiner, self._work.vae)
        if latents_of(refiner.vae) != latents_of(base.vae):
            raise JobError("refiner_mismatch", name=file.name, model=base.file.name)
        return refiner

    def _draw(self, plan: Plan, models: list[Checkpoint], nets: list[Any]) -> None:
        request = self._work.request
        parts = [part for model in models for part in model.parts]
        vaes = [model.vae for model in models]
        with (
            torch.no_grad(),
            self._parts.tuning.tuned(
                [model.denoiser for model in models], [*vaes, *nets], self._work.numerics
            ) as tuned,
            beating((*parts, *nets), self._beat, BEAT_EVERY, tuned.blocks),
            _frugal(vaes, plan.frugal),
            ThreadPoolExecutor(1, "save") as saver,
        ):
            inputs = self._inputs(models, nets)
            for first in range(self._made, request.count, plan.batch_size):
                last = min(first + plan.batch_size, request.count)
                latents, model = self._denoise(inputs, first, last)
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
                        numerics = self._computed(plan, model, decoded_in, tuned)
                        # saved while the next one is drawn
                        self._saves.append(saver.submit(self._save, index, picture, numerics))
                        self.numerics = numerics
                        self._made = index + 1

    def _computed(
        self, plan: Plan, model: Checkpoint, decoded_in: torch.dtype, tuned: Tuned
    ) -> Numerics:
        device = self._parts.device
        return Numerics(
            batch_size=min(plan.batch_size, self._work.request.count),
            precision=name_of_dtype(self._parts.dtype),
            vae_precision=name_of_dtype(decoded_in),
            frugal=plan.frugal,
            memory=model.denoiser.residency,
            device=name_of(device),
            threads=torch.get_num_threads() if device.type == "cpu" else 0,
            compiled=bool(tuned.blocks),
            channels_last=tuned.channels_last,
        )

    def _inputs(self, models: list[Checkpoint], nets: list[Any]) -> Inputs:
        request, model = self._work.request, models[0]
        before = self._start_pixels()
        self._stage("encoding", self._made)
        start = colours = None
        with self._parts.residency.at_work(model.vae):
            if before is not None:
                start = StartPicture.of(model, before, self._tiles)
            if self._shown.wanted:
                colours = self._maps.of(model, self._parts.device)
        drawers = tuple(self._drawer(each, nets, start, models) for each in models)
        return Inputs(
            drawers,
            timeline(
                schedule_of(request),
                self._sampler_name,
                drawers[0].sampling,
                request.steps,
                request.denoising_strength if start is not None else None,
                large=bool(model.family.size_conditioning),
            ),
            start,
            colours,
        )

    def _drawer(
        self,
        model: Checkpoint,
        nets: list[Any],
        start: StartPicture | None,
        models: list[Checkpoint],
    ) -> Drawer:
        """What a checkpoint among `models` draws with, its prompts encoded by itself."""
        request, work = self._work.request, self._work
        parts = self._parts
        learned, stamps = parts.embeddings.read(work.embeddings)
        alone = len(models) == 1
        vectors: Vectors = {
            **learned,
            **loras.merge(parts.merger, model, work, parts.device, alone=alone),
        }
        self._stop_if_cancelled()
        if not alone and model is not models[0]:
            # a word that the base has learned is any other word to it
            vectors = model.conditioner.known(vectors)
        merged = tuple(parts.merger.merged(part) for part in model.text_encoders)
        with parts.residency.at_work(*model.text_encoders):
            prompts = model.conditioner.prompts(
                request.prompt,
                request.negative_prompt,
                request.steps * self._sampler.order,
                clip_skip=request.clip_skip,
                vectors=vectors,
                changed_by=(merged, stamps),
                conventions=request.conventions,
                second_pass=work.enlargement is not None,
            )
        sampling = model.sampling(request.conventions)
        if self._sampler.consistency and request.conventions == "a1111" and not sampling.flow:
            sampling = LcmSampling(sampling)
        beside = None
        if model.denoiser.config.in_channels > model.family.latents.channels:
            size = (request.width, request.height)
            with parts.residency.at_work(model.vae):
                beside = further_channels(model, start, *size, self._tiles, parts.device)
        steering = [
            (net, use)
            for net, use, file in zip(nets, request.controls, work.controlnets, strict=True)
            if alone or model is models[0] or file.fits(model.file)
        ]
        controls = [
            Control(
                net,
                self._pixels(use.picture),
                use.scale,
                KINDS[use.kind or USUAL_KIND],
                use.start,
                use.end,
            )
            for net, use in steering
        ]
        network = UNet(model.denoiser, controls)
        return Drawer(model, tuple(net for net, _ in steering), sampling, prompts, network, beside)

    def _start_pixels(self) -> torch.Tensor | None:
        """The picture to start from, enlarged where this is the second pass over it."""
        work = self._work
        if work.request.init_picture is None:
            return None
        if work.enlargement is None:
            return self._pixels(work.request.init_picture)
        data = work.pictures[work.enlargement.picture]

        def after_tile(_share: float) -> None:
            self._stop_if_cancelled()
            self._stage("enlarging", self._made)

        picture = enlarged(self._parts, work.enlargement, work.upscaler, data, after_tile)
        return pixels_of(picture, self._parts.device)

    def _pixels(self, sha256: str) -> torch.Tensor:
        """A picture that was handed in, at the size of what is drawn."""
        request, picture = self._work.request, open_picture(self._work.pictures[sha256])
        return pixels_of(fitted(picture, request.width, request.height), self._parts.device)

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

    def _denoise(self, inputs: Inputs, first: int, last: int) -> tuple[torch.Tensor, Checkpoint]:
        """Latents of shape (last - first, C, H / 8, W / 8), as the denoiser left them, and the
        checkpoint that drew them to their end.
        """
        request, sigmas, model = self._work.request, inputs.timeline.sigmas, inputs.base.model
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
            return start, model
        sampling, whole, steps = inputs.base.sampling, self._sampler.timesteps, len(sigmas) - 1
        x = sampling.begin(x, inputs.timeline.noise, start, whole=whole)
        x = x * inputs.timeline.gain
        done = 0

        def after_call() -> None:
            self._after_call(first, count, done, steps)

        with contextlib.ExitStack() as working:
            denoiser = self._at_work(inputs, working, steps, after_call)
            for step in SAMPLING[self._sampler_name](denoiser, x, sigmas, noise, sampling):
                self._stop_if_cancelled()
                x, done = step.x, step.number + 1
                for drawer in inputs.drawers:
                    drawer.network.done = done / steps
                if step.number % CHECK_EVERY == 0 and not torch.isfinite(x).all():
                    raise NotFiniteError
                self._calls = 0
                self._stage("denoising", first + done / steps * count)
                if inputs.colours is not None and self._shown.due():
                    jpeg = previews.to_jpeg(step.denoised, inputs.colours)
                    self._send(Preview(self._work.job, jpeg))
        if not torch.isfinite(x).all():
            raise NotFiniteError
        handed_over = isinstance(denoiser, HandOver) and denoiser.handed_over
        return x, inputs.drawers[1 if handed_over else 0].model

    def _at_work(
        self,
        inputs: Inputs,
        working: contextlib.ExitStack,
        steps: int,
        after_call: Callable[[], None],
    ) -> Denoiser | HandOver:
        """What samplers call, its networks on the device while the stack is open: those of the
        base, and once it has handed over those of the refiner.
        """
        request, residency = self._work.request, self._parts.residency
        denoisers = []
        for drawer in inputs.drawers:
            drawer.network.done = 0.0
            denoisers.append(self._denoiser(drawer, after_call))
        working.enter_context(residency.at_work(*inputs.base.at_work))
        if len(denoisers) == 1:
            return denoisers[0]

        def hand_over() -> None:
            working.close()
            refiner = inputs.drawers[1]
            aside = [part for part in inputs.base.at_work if part not in refiner.at_work]
            working.enter_context(residency.at_work(*refiner.at_work, aside=aside))

        base, refiner = denoisers
        calls = steps * self._sampler.order
        return HandOver(base, refiner, request.refiner_switch, calls, hand_over)

    def _denoiser(self, drawer: Drawer, after_call: Callable[[], None]) -> Denoiser:
        model, guided = drawer.model, self._sampler.guided
        return Denoiser(
            drawer.network,
            drawer.sampling,
            model.family,
            drawer.prompts,
            self._work.request.guidance_scale / (CFG_PP if guided else 1),
            self._tiles,
            model.factor,
            beside=drawer.beside,
            edits=model.denoiser.config.in_channels == model.family.latents.channels + EDITING,
            guided=guided,
            after_call=after_call,
        )

    def _after_call(self, first: int, count: int, done: int, steps: int) -> None:
        """Behind each tile of each call of the network."""
        self._stop_if_cancelled()
        if len(self._tiles) == 1:
            return
        self._calls += 1
        within = min(1.0, self._calls / (len(self._tiles) * self._sampler.order))
        self._stage("denoising", first + (done + within) / steps * count)


@contextlib.contextmanager
def _frugal(vaes: Sequence[Any], frugal: bool) -> Iterator[None]:
    """Where memory is short VAEs work on small tiles."""
    if frugal:
        for vae in vaes:
            for used in (vae, getattr(vae, "float32_copy", vae)):
                used.enable_tiling()
    try:
        yield
    finally:
        for vae in vaes:
            for used in (vae, getattr(vae, "float32_copy", vae)):
                used.disable_tiling()
