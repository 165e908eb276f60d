"""The passes that a picture goes through: one, or with a hires pass two."""

from typing import NamedTuple

from generation import hires
from generation.comfyui.nodes import Stage
from generation.messages import Generate
from generation.models import ModelFile
from generation.request import GenerationRequest


class ComfyUIPass(NamedTuple):
    """One of them."""

    number: int
    """From 0."""
    request: GenerationRequest
    """What is drawn in it."""
    checkpoint: ModelFile
    steps: float
    """Of the first pass' size: a step over a larger picture is several."""

    @property
    def stage(self) -> Stage:
        """How its progress is called."""
        return "hires" if self.number else "denoising"


def passes_of(work: Generate) -> tuple[ComfyUIPass, ...]:
    """Those of a job, in order."""
    found: list[ComfyUIPass] = []
    for number, request in enumerate(hires.passes(work.request)):
        checkpoint, steps = work.checkpoint, float(request.steps)
        if found:
            checkpoint = work.hires_checkpoint or work.checkpoint
            small = found[0].request
            shares = request.width * request.height / (small.width * small.height)
            steps = max(1.0, round(steps * shares))
        found.append(ComfyUIPass(number, request, checkpoint, steps))
    return tuple(found)


def over_latents(request: GenerationRequest) -> bool:
    """Whether a hires pass goes over latents, and no picture lies between."""
    name = request.hires_upscaler or hires.LATENT
    return request.hires is not None and name in hires.LATENT_UPSCALERS
