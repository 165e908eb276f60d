"""The checkpoints and ControlNets of one job: loaded, and held against each other."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from generation.messages import Generate
from generation.models import ModelFile
from generation.runtime.checkpoints import ADAPTER, Checkpoint
from generation.runtime.faults import JobError
from generation.runtime.parts import Parts, latents_of


class JobModels(NamedTuple):
    """What a job draws with, in place."""

    passes: tuple[tuple[Checkpoint, ...], ...]
    """Who draws in each pass: one, or two of which the second, the refiner, draws the last steps.
    """
    nets: tuple[Any, ...]
    """Its ControlNets, in the order of the request's."""

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Each once, the base first."""
        return tuple({id(one): one for drawing in self.passes for one in drawing}.values())

    @property
    def base(self) -> Checkpoint:
        return self.passes[0][0]

    @property
    def denoisers(self) -> list[Any]:
        return [model.denoiser for model in self.checkpoints]

    @property
    def vaes(self) -> list[Any]:
        return [model.vae for model in self.checkpoints]

    @property
    def parts(self) -> tuple[Any, ...]:
        """Every network."""
        return (*(part for model in self.checkpoints for part in model.parts), *self.nets)

    @property
    def alone(self) -> bool:
        """Whether one checkpoint draws all steps."""
        return len(self.checkpoints) == 1

    def steered(self, model: Checkpoint, file: ModelFile) -> bool:
        """Whether that ControlNet steers that checkpoint: a refiner only where it fits it."""
        return model is self.base or file.fits(model.file)


def load(parts: Parts, work: Generate) -> JobModels:
    """Load what is not in place yet. Raises JobError for what is broken or does not fit."""
    base = parts.checkpoint(work.checkpoint)
    if work.vae is not None:
        base = parts.with_vae(base, work.vae)
    passes = [[base]]
    if work.request.hires is not None:
        own = work.hires_checkpoint
        passes.append([base if own is None else load_refiner(parts, work, own, [base])])
    if work.refiner is not None and work.request.refiner_switch < 1:
        # as A1111 has it where nobody sets it otherwise, of two passes in the second
        there = [one for drawing in passes for one in drawing]
        passes[-1].append(load_refiner(parts, work, work.refiner, there))
    nets = [_load_controlnet(parts, base, file) for file in work.controlnets]
    return JobModels(tuple(map(tuple, passes)), tuple(nets))


def load_refiner(
    parts: Parts, work: Generate, file: ModelFile, there: Sequence[Checkpoint]
) -> Checkpoint:
    """Beside those that are there, the base first, whose latents it must have."""
    base = there[0]
    refiner = parts.checkpoint(file, beside=tuple(one.file for one in there))
    if work.vae is not None:
        return parts.with_vae(refiner, work.vae)
    if latents_of(refiner.vae) != latents_of(base.vae):
        raise JobError("refiner_mismatch", name=file.name, model=base.file.name)
    return refiner


def _load_controlnet(parts: Parts, model: Checkpoint, file: ModelFile) -> Any:
    net = parts.controlnet(file)
    make = model.architecture.control
    if make is not None:
        fits = make.fits(net, model.denoiser)
    elif file.variant == ADAPTER:
        levels = model.denoiser.config.block_out_channels
        fits = all(a == b for a, b in zip(net.config.channels, levels, strict=False))
    else:
        figures = ("cross_attention_dim", "block_out_channels")
        fits = all(net.config[name] == model.denoiser.config[name] for name in figures)
    if not fits:
        raise JobError("controlnet_mismatch", name=file.name, model=model.file.name)
    return net
