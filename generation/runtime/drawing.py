"""One job, from its request to its pictures; the function `draw` reads like the recipe."""

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import torch
from PIL import Image

from generation.messages import Generate, Picture, Preview, Progress
from generation.runtime import loras, previews, prompts
from generation.runtime.faults import CancelledError, JobError, NotFiniteError
from generation.runtime.liveness import beating
from generation.runtime.loading import LoadedModels
from generation.runtime.noise import generators
from generation.runtime.pictures import decode, encode, read_picture, to_png
from generation.runtime.sampling import scheduler_for
from generation.runtime.tiling import tiled, tiles_of

CHECK_EVERY = 5
"""Steps between looks at whether the latents are still numbers."""
BEAT_EVERY = 10.0
"""Seconds of a single step after which its progress is said once more."""
WAIT_STEP = 1.0
"""Seconds after which a wait looks up: whether the job is cancelled, and to show life."""

Send = Callable[[Progress | Preview | Picture], None]


class Drawing:
    """What one job has in hand.

    `cancelled` tells whether somebody stopped it, `hashes` will have the hashes of its files,
    `unsafe` is the picture check's probability for a picture, or None where there is no check.
    """

    def __init__(
        self,
        work: Generate,
        models: LoadedModels,
        send: Send,
        *,
        cancelled: Callable[[], bool],
        hashes: Future[dict[str, str]],
        unsafe: Callable[[Image.Image], float | None],
        shown: previews.Previews,
    ) -> None:
        self.loaded_at = 0.0
        """When the models were in place, by the monotonic clock."""
        self._work = work
        self._models = models
        self._send = send
        self._cancelled = cancelled
        self._hashes = hashes
        self._unsafe = unsafe
        self._shown = shown
        request = work.request
        self._tiles = tiles_of(request.width, request.height, request.tile)
        self._steps = request.steps * len(self._tiles)
        """Of each picture."""
        self._made = 0
        self._saves: list[Future[None]] = []
        self._progress = Progress(work.job, "loading", 0, 0)

    def draw(self, batch_size: int, *, frugal: bool = False) -> None:
        """Make all pictures that were not made yet; `frugal` ones with the least memory.

        Raises JobError, NotFiniteError, and whatever tells that memory ran out.
        """
        request = self._work.request
        self._stage("loading", self._made)
        own = base = self._models.checkpoint(self._work.checkpoint)
        if self._work.vae is not None:
            base = self._models.with_vae(own, self._work.checkpoint, self._work.vae)
        pipe, inputs = self._pipeline(base)
        self.loaded_at = time.monotonic()
        self._stop_if_cancelled()
        with (
            torch.no_grad(),
            beating(self._beat, BEAT_EVERY),
            _released((pipe, base, own), frugal),
            loras.applied(base, self._work),
            ThreadPoolExecutor(1, "save") as saver,
        ):
            self._stage("encoding", self._made)
            embeddings = prompts.encode(
                base, request.prompt, request.negative_prompt, request.clip_skip
            )
            skipped = 0
            if "strength" in inputs:
                # as diffusers counts them
                skipped = request.steps - int(inputs["strength"] * request.steps)
                inputs["image"] = encode(pipe, inputs["image"], self._tiles)
            for first in range(self._made, request.count, batch_size):
                seeds = request.seeds[first : first + batch_size]
                pipe.scheduler = scheduler_for(
                    request.sampler, base.own_scheduler, seeds, request.steps, skipped
                )
                latents = self._denoise(
                    pipe, first, seeds, embeddings, inputs, request.steps - skipped
                )
                self._stage("decoding", first + len(seeds))
                for index, latent in enumerate(latents, first):
                    self._stop_if_cancelled()
                    picture = decode(base, latent, self._tiles)
                    # saved while the next one is drawn
                    self._saves.append(saver.submit(self._save, index, picture))
                    self._made = index + 1
        for save in self._saves:
            save.result()

    def _pipeline(self, base: Any) -> tuple[Any, dict[str, Any]]:
        """The pipeline for what the request has, and its inputs beside the prompt."""
        request, work = self._work.request, self._work
        inputs: dict[str, Any] = {}
        size = (request.width, request.height)
        ability = "text_to_image"
        if request.init_picture is not None:
            ability = "image_to_image"
            inputs["image"] = read_picture(work.pictures[request.init_picture], *size)
            inputs["strength"] = request.denoising_strength
        if not request.controls:
            return self._models.pipeline(base, work.checkpoint, ability), inputs
        hints = [read_picture(work.pictures[use.picture], *size) for use in request.controls]
        nets = [self._controlnet(base, file) for file in work.controlnets]
        scales = [use.scale for use in request.controls]
        several = len(nets) > 1
        inputs["controlnet_conditioning_scale"] = scales if several else scales[0]
        inputs["control_image" if "image" in inputs else "image"] = hints if several else hints[0]
        ability = "controlnet_image_to_image" if "strength" in inputs else "controlnet"
        pipe = self._models.pipeline(
            base, work.checkpoint, ability, controlnet=nets if several else nets[0]
        )
        return pipe, inputs

    def _controlnet(self, base: Any, file: Any) -> Any:
        net = self._models.controlnet(file)
        for figure in ("cross_attention_dim", "block_out_channels", "in_channels"):
            if net.config[figure] != base.unet.config[figure]:
                model = self._work.checkpoint.name
                raise JobError("controlnet_mismatch", name=file.name, model=model)
        return net

    def _denoise(
        self,
        pipe: Any,
        first: int,
        seeds: tuple[int, ...],
        embeddings: tuple[torch.Tensor, torch.Tensor],
        inputs: dict[str, Any],
        steps: int,
    ) -> torch.Tensor:
        """Latents of shape (len(seeds), C, H / 8, W / 8), as the denoiser left them."""
        request = self._work.request
        count = len(seeds)
        prepared = dict(inputs)
        if "strength" in prepared:
            # diffusers takes latents for what they are
            latents_of_all: torch.Tensor = prepared["image"].repeat(count, 1, 1, 1)
            if steps == 0:
                return latents_of_all
            prepared["image"] = latents_of_all
        else:
            prepared |= {"width": request.width, "height": request.height}
        clean = previews.CleanLatents(pipe.scheduler)

        def after_step(owner: Any, step: int, _time: Any, tensors: dict[str, Any]) -> Any:
            self._stop_if_cancelled()
            latents = tensors["latents"]
            if step % CHECK_EVERY == 0 and not torch.isfinite(latents).all():
                raise NotFiniteError
            done = (step + 1) / max(1, owner.num_timesteps) * count
            self._stage("denoising", first + done)
            if self._shown.due():
                jpeg = previews.preview(pipe, clean.latest(latents))
                self._send(Preview(self._work.job, jpeg))
            return tensors

        tiles_done = 0

        def after_tile() -> None:
            nonlocal tiles_done
            self._stop_if_cancelled()
            tiles_done += 1
            done = tiles_done / (len(self._tiles) * max(1, pipe.num_timesteps)) * count
            self._stage("denoising", first + min(done, count))

        positive, negative = embeddings
        variations = request.variations[first : first + count]
        with tiled(pipe, self._tiles, after_tile):
            latents: torch.Tensor = pipe(
                prompt_embeds=positive.repeat(count, 1, 1),
                negative_prompt_embeds=negative.repeat(count, 1, 1),
                num_inference_steps=request.steps,
                guidance_scale=request.guidance_scale,
                generator=generators(seeds, variations),
                output_type="latent",
                callback_on_step_end=after_step,
                callback_on_step_end_tensor_inputs=["latents"],
                **prepared,
            ).images
        if not torch.isfinite(latents).all():
            raise NotFiniteError
        return latents

    def _save(self, index: int, picture: Image.Image) -> None:
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
def _released(pipes: tuple[Any, ...], frugal: bool) -> Iterator[None]:
    """Whatever happens, offloaded modules leave the device afterwards, and tiling ends.

    The pipeline that is kept comes last, for the last one leaves its hooks on the modules.
    """
    vae = pipes[0].vae
    if frugal:
        vae.enable_tiling()
    try:
        yield
    finally:
        vae.disable_tiling()
        for used in {id(used): used for used in pipes}.values():
            used.maybe_free_model_hooks()
