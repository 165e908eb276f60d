"""One job, from its request to its pictures; the method `draw` reads like the recipe."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, Literal, NamedTuple

import torch
from PIL import Image

from generation import hires
from generation.families import family_of
from generation.masked_pictures import begins_as_trained
from generation.memory_plan import PartPlace, Plan
from generation.messages import Generate, Preview
from generation.numerics import Numerics
from generation.runtime import previews
from generation.runtime.checkpoints import Checkpoint
from generation.runtime.control_pictures import ControlsSeen
from generation.runtime.damage import blame
from generation.runtime.device import DTYPES, name_of, name_of_dtype
from generation.runtime.drawers import Drawer, drawer_of
from generation.runtime.enlargement import enlarged
from generation.runtime.faults import NotFiniteError
from generation.runtime.finishing import Finisher
from generation.runtime.hand_over import HandOver, at_work
from generation.runtime.hires import (
    Pass,
    encoded,
    enlarged_latents,
    enlarged_picture,
    passes_of,
)
from generation.runtime.job_models import JobModels, load
from generation.runtime.latents import (
    StartPicture,
    decode,
    fills,
    fitted_pixels,
    frugal,
    pixels_of,
)
from generation.runtime.lessons import Lessons
from generation.runtime.liveness import beating
from generation.runtime.masked_content import beginning
from generation.runtime.masks import Mask, MaskedLatents, mask_of, masking, noise_under
from generation.runtime.memory import MemoryWish, Meter, Planner
from generation.runtime.noise import Streams, first_noise
from generation.runtime.parts import Parts
from generation.runtime.references import NO_REFERENCES, shown
from generation.runtime.report import JobReport, Send
from generation.runtime.samplers import SAMPLING
from generation.runtime.schedules import Timeline, timeline
from generation.runtime.segmenter import found_by_words
from generation.runtime.tuning import Tuned
from generation.samplers import SAMPLERS, sampler_of, schedule_of

CHECK_EVERY = 5
"""Steps between looks at whether the latents are still numbers."""
BEAT_EVERY = 10.0
"""Seconds of a single step after which its progress is said once more."""


MEMORY: Final[dict[PartPlace, Literal["high", "medium", "blocks", "low"]]] = {
    "device": "high",
    "aside": "medium",
    "blocks": "blocks",
    "leaves": "low",
}
"""As numerics name the places of a denoiser."""


class Inputs(NamedTuple):
    """What holds for every picture of a job."""

    step: Pass
    """The pass that they are of."""
    drawers: tuple[Drawer, ...]
    """One, or two of which the second, the refiner, draws the last steps."""
    timeline: Timeline
    start: StartPicture | None
    """What the first step begins with; None where that is noise alone."""
    mask: Mask | None
    kept: StartPicture | None
    """What stays at every step where `drawn` is 0; None where every latent is drawn."""
    drawn: torch.Tensor | None
    """Of the mask, (1, 1, h, w)."""
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
        planner: Planner,
    ) -> None:
        self._passes = passes_of(work, family_of(work.checkpoint))
        super().__init__(
            work,
            send,
            steps=sum(one.units for one in self._passes),
            cancelled=cancelled,
            hashes=hashes,
            unsafe=unsafe,
        )
        self._work = work
        self._parts = parts
        self._lessons = lessons
        self._shown = shown
        self._maps = maps
        self._planner = planner
        self.plan: Plan | None = None
        """How it is drawn; None until its models are loaded."""
        self._parts_drawn: tuple[Any, ...] = ()
        self.meter = Meter(parts.device)
        first = work.numerics
        self._decode_in = parts.decode_in if first is None else DTYPES[first.vae_precision]
        self._drawn_by: Checkpoint | None = None
        """The base, whose steps are the planner's `denoise`."""
        self._calls = 0
        """Of the network within the present step."""
        self._made = 0
        self._saves: list[Future[None]] = []
        self._finisher = Finisher(parts, work.finishing)
        self._controls = ControlsSeen()

    def draw(self, wish: MemoryWish) -> None:
        """Make all pictures that were not made yet, as memory allows.

        Raises JobError, NotFiniteError, and whatever tells that memory ran out.
        """
        self._stage("loading", self._made)
        self.plan, self._parts_drawn = None, ()
        self.meter.begin()
        job = load(self._parts, self._work)
        self._parts_drawn, self._drawn_by = job.parts, job.base
        plan = self.plan = self._planner.plan(self._work, job, wish)
        self._planner.follow(plan, job)
        self.loaded_at = time.monotonic()
        self._stop_if_cancelled()
        try:
            self._draw(plan, job)
        except NotFiniteError:
            for model in job.checkpoints:
                blame(self._work, model, job.nets)
            raise
        for save in self._saves:
            save.result()

    @property
    def own(self) -> tuple[Any, ...]:
        """Its networks, as far as they are loaded; those beside the drawing ones, too."""
        work = self._work
        helpers = self._parts.loaded((*work.seeing, *work.finishing.files))
        return (*self._parts_drawn, *helpers)

    def _draw(self, plan: Plan, job: JobModels) -> None:
        count = self._work.request.count
        tuning, told = self._parts.tuning, self._work.numerics
        with (
            torch.no_grad(),
            tuning.tuned(job.denoisers, [*job.vaes, *job.nets], told) as tuned,
            beating(job.parts, self._beat, BEAT_EVERY, tuned.blocks),
            frugal(job.vaes, plan.tiled),
            ThreadPoolExecutor(1, "save") as saver,
        ):
            inputs, *again = [
                self._inputs(job, step, models)
                for step, models in zip(self._passes, job.passes, strict=True)
            ]
            self._saves.append(saver.submit(self._save_controls, self._controls.take()))
            if plan.helpers_leave:
                self._parts.let_go(self._work.seeing)
            for first in range(self._made, count, plan.batch):
                last = min(first + plan.batch, count)
                latents, model = self._denoise(inputs, first, last)
                for second in again:
                    begun = self._enlarged(second, model, latents, first)
                    latents, model = self._denoise(second, first, last, begun)
                self._stage("decoding", last)
                with self.meter.during("decode"), self._parts.residency.at_work(model.vae):
                    for index, latent in enumerate(latents, first):
                        self._stop_if_cancelled()
                        picture, decoded_in = self._decode(model, latent, self._passes[-1])
                        picture = self._finished(index, picture, inputs.mask)
                        numerics = self._computed(plan, model, decoded_in, tuned)
                        # saved while the next one is drawn
                        self._saves.append(saver.submit(self._save, index, picture, numerics))
                        self.numerics = numerics
                        self._made = index + 1
                if plan.helpers_leave:
                    self._finisher.let_go()

    def _finished(self, index: int, picture: Image.Image, mask: Mask | None) -> Image.Image:
        def after(stage: str, _share: float) -> None:
            self._stop_if_cancelled()
            self._stage(stage, index + 1)

        pasted = None if mask is None else mask.pasted
        with self.meter.within("finish"):
            picture = self._finisher.finish(index, picture, after, pasted)
        self.faceless = tuple(sorted(self._finisher.faceless))
        return picture

    def _decode(
        self, model: Checkpoint, latent: torch.Tensor, step: Pass, *, down: bool = False
    ) -> tuple[Image.Image, torch.dtype]:
        down = down or self._work.request.conventions == "comfyui"
        return decode(model, latent, step.tiles, self._lessons, self._decode_in, down=down)

    def _enlarged(
        self, second: Inputs, model: Checkpoint, latents: torch.Tensor, first: int
    ) -> torch.Tensor:
        """What a hires pass goes over: what `model` has drawn, from picture `first` on, enlarged
        as latents or, between a decoding and an encoding, as a picture.
        """
        work, request = self._work, self._work.request
        sizes, name = hires.sizes_of(request), request.hires_upscaler or hires.LATENT
        if name in hires.LATENT_UPSCALERS:
            return enlarged_latents(latents, name, sizes, model.factor)
        small, count = self._passes[second.step.number - 1], len(latents)
        at = self._done(small, first, count, 1.0)
        self._stage("enlarging", at)

        def after_tile(_share: float) -> None:
            self._stop_if_cancelled()
            self._stage("enlarging", at)

        pictures = []
        for latent in latents:
            self._stop_if_cancelled()
            with self.meter.during("decode"), self._parts.residency.at_work(model.vae):
                # A1111 cuts off what is behind the point, here as everywhere
                picture, _ = self._decode(model, latent, small, down=True)
            pictures.append(
                enlarged_picture(
                    *(self._parts, name, work.upscaler, picture, sizes.enlarged), after_tile
                )
            )
        model = second.base.model
        seeds = request.seeds[first : first + count]
        with self.meter.during("decode"), self._parts.residency.at_work(model.vae):
            return encoded(
                *(model, pictures, seeds, sizes, second.step.tiles, self._parts.device),
                drawn=request.conventions == "a1111",
            )

    def _computed(
        self, plan: Plan, model: Checkpoint, decoded_in: torch.dtype, tuned: Tuned
    ) -> Numerics:
        device = self._parts.device
        return Numerics(
            batch_size=plan.batch,
            precision=name_of_dtype(self._parts.dtype),
            vae_precision=name_of_dtype(decoded_in),
            frugal=plan.tiled,
            memory=MEMORY[model.denoiser.residency],
            weights=model.file.quantisation,
            quantised=model.file.quantise,
            device=name_of(device),
            threads=torch.get_num_threads() if device.type == "cpu" else 0,
            compiled=bool(tuned.blocks),
            channels_last=tuned.channels_last,
        )

    def _inputs(self, job: JobModels, step: Pass, models: tuple[Checkpoint, ...]) -> Inputs:
        work, request, model, tiles = step.work, step.request, models[0], step.tiles
        mask = mask_of(work, self._find if work.segmenter is not None else None)
        before = self._start_pixels(mask)
        self._stage("encoding", self._made)
        start = kept = drawn = colours = None
        if mask is not None:
            size = (request.width // model.factor, request.height // model.factor)
            drawn = mask.latents(*size).to(self._parts.device)
        references = NO_REFERENCES
        with self.meter.during("decode"), self._parts.residency.at_work(model.vae):
            if before is not None:
                start = kept = StartPicture.of(model, before, tiles)
            elif mask is not None:
                kept = StartPicture.of(model, pixels_of(mask.picture, self._parts.device), tiles)
            if work.references:
                references = shown(work, model, start, tiles, self._parts.device, mask)
            if self._shown.wanted:
                colours = self._maps.of(model, self._parts.device)
        with self.meter.during("encode"):
            drawers = tuple(
                drawer_of(
                    *(each, job, work, self._parts, start, mask, references, tiles),
                    self._stop_if_cancelled,
                    self._controls,
                    self.meter,
                    passed=step.passed,
                    followed=step.number + 1 < len(self._passes),
                )
                for each in models
            )
        if mask is None:
            kept = None
        elif fills(model) and begins_as_trained(request):
            start = kept = None
        over = start is not None or step.again
        times = timeline(
            schedule_of(request),
            sampler_of(request),
            drawers[0].sampling,
            request.steps,
            request.denoising_strength if over else None,
            large=bool(model.family.size_conditioning),
            whole=step.again,
        )
        return Inputs(step, drawers, times, start, mask, kept, drawn, colours)

    def _find(self, picture: Image.Image) -> Image.Image:
        self._stage("masking", self._made)
        with self.meter.within("prepare"):
            found = found_by_words(self._work, picture, self._parts, self._stop_if_cancelled)
        self._controls.note_mask(self._work, found)
        return found

    def _start_pixels(self, mask: Mask | None) -> torch.Tensor | None:
        """The picture to start from, enlarged where this is the second pass over it, and filled
        where it is masked and that is asked for.
        """
        work, request, device = self._work, self._work.request, self._parts.device
        if request.init_picture is None or (work.references and work.enlargement is None):
            return None
        if mask is not None:
            return pixels_of(mask.beginning(request), device)
        if work.enlargement is None:
            data = work.pictures[request.init_picture]
            return fitted_pixels(data, request.width, request.height, device)
        data = work.pictures[work.enlargement.picture]

        def after_tile(_share: float) -> None:
            self._stop_if_cancelled()
            self._stage("enlarging", self._made)

        picture = enlarged(self._parts, work.enlargement, work.upscaler, data, after_tile)
        return pixels_of(picture, device)

    def _denoise(
        self, inputs: Inputs, first: int, last: int, over: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, Checkpoint]:
        """Latents of shape (last - first, C, H / 8, W / 8), as the denoiser left them, and the
        checkpoint that drew them to their end; `over` are those that a hires pass goes over.
        """
        step, request, count = inputs.step, inputs.step.request, last - first
        sigmas, sampler = inputs.timeline.sigmas, sampler_of(request)
        if len(sigmas) <= 1:
            if over is not None:
                return over, inputs.base.model
            assert inputs.start is not None
            return inputs.start.latents(None, count), inputs.base.model
        x, noise, masked = self._begin(inputs, first, last, over)
        sampling, steps = inputs.base.sampling, len(sigmas) - 1
        done = 0

        def after_call() -> None:
            self._after_call(inputs, first, count, done / steps, steps)

        denoisers = [one.denoiser(request, step.tiles, after_call) for one in inputs.drawers]
        share, calls = request.refiner_switch, steps * SAMPLERS[sampler].order
        own = inputs.base.model is self._drawn_by
        with (
            self.meter.during("denoise" if own else "refine"),
            at_work(
                inputs.drawers,
                denoisers,
                self._parts.residency,
                share,
                calls,
                lambda: self.meter.enter("refine"),
            ) as denoiser,
        ):
            asked = masking(denoiser, masked, request, sampling, sigmas)
            for made in SAMPLING[sampler](asked, x, sigmas, noise, sampling):
                self._stop_if_cancelled()
                x, done = made.x, made.number + 1
                for drawer in inputs.drawers:
                    drawer.network.done = done / steps
                if made.number % CHECK_EVERY == 0 and not torch.isfinite(x).all():
                    raise NotFiniteError
                self._calls = 0
                self._stage(step.stage, self._done(step, first, count, done / steps))
                if inputs.colours is not None and self._shown.due():
                    jpeg = previews.to_jpeg(made.denoised, inputs.colours)
                    self._send(Preview(self._work.job, jpeg))
        if not torch.isfinite(x).all():
            raise NotFiniteError
        if masked is not None:
            x = masked.over(x)
        handed_over = isinstance(denoiser, HandOver) and denoiser.handed_over
        return x, inputs.drawers[1 if handed_over else 0].model

    def _begin(
        self, inputs: Inputs, first: int, last: int, over: torch.Tensor | None
    ) -> tuple[torch.Tensor, Streams, MaskedLatents | None]:
        """The initial noise, in it the picture to start from or what a hires pass goes over, the
        streams for what follows, and what stays at every step.
        """
        request, model, times = inputs.step.request, inputs.base.model, inputs.timeline
        noise = Streams(
            request.seeds[first:last],
            request.variations[first:last],
            request.conventions,
            times.span,
        )
        height, width = request.height // model.factor, request.width // model.factor
        x = noise.initial((model.family.latents.channels, height, width)).to(self._parts.device)
        comfyui = request.conventions == "comfyui"
        drawn_with = None if comfyui else x
        start, masked = over, None
        if inputs.start is not None:
            start = inputs.start.latents(drawn_with, last - first)
        if inputs.drawn is not None and inputs.kept is not None:
            kept = inputs.kept.latents(drawn_with, last - first)
            under = None
            if comfyui:
                under = noise_under(sampler_of(request), request.seeds[first:last], x)
            masked = MaskedLatents(inputs.drawn, kept, under)
            if start is not None:
                own = first_noise(request.seeds[first:last], tuple(start.shape[1:])).to(x.device)
                start = beginning(request.masked_content, start, inputs.drawn, own)
        whole = SAMPLERS[sampler_of(request)].timesteps
        x = inputs.base.sampling.begin(x, times.noise, start, whole=whole)
        return x * times.gain, noise, masked

    def _after_call(self, inputs: Inputs, first: int, count: int, share: float, steps: int) -> None:
        """Behind each tile of each call of the network, when that share of the steps is done."""
        self._stop_if_cancelled()
        step = inputs.step
        if len(step.tiles) == 1:
            return
        self._calls += 1
        order = SAMPLERS[sampler_of(step.request)].order
        within = min(1.0, self._calls / (len(step.tiles) * order))
        self._stage(step.stage, self._done(step, first, count, share + within / steps))

    def _done(self, step: Pass, first: int, count: int, share: float) -> float:
        """How many pictures are done, of `count` from `first` on that share of a pass."""
        before = sum(one.units for one in self._passes[: step.number])
        return first + count * (before + share * step.units) / self._steps
