"""Which file is to blame for a picture that is none: looked for only after one came out so."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from generation.messages import Generate
from generation.models import ModelFile
from generation.runtime.checkpoints import ADAPTER, Checkpoint
from generation.runtime.faults import JobError


def blame(work: Generate, model: Checkpoint, nets: Sequence[Any]) -> None:
    """Raise JobError("nan_weights") for the first part whose weights are no numbers.

    Infinite ones in float16 may be so for their precision, and are none to blame.
    """
    for file, title, network in _parts(work, model, nets):
        _check(file, title, network)


def blame_upscaler(file: ModelFile, network: Any) -> None:
    """The same of an upscaler, whose picture is no numbers."""
    _check(file, "upscaler", network)


def _check(file: ModelFile, title: str, network: Any) -> None:
    for tensor in network.state_dict().values():
        if not tensor.is_floating_point() or tensor.is_meta:
            continue
        half = tensor.dtype == torch.float16
        if torch.isnan(tensor).any() or (not half and not torch.isfinite(tensor).all()):
            raise JobError("nan_weights", file=file.shown, part=title)


def _parts(
    work: Generate, model: Checkpoint, nets: Sequence[Any]
) -> Iterator[tuple[ModelFile, str, Any]]:
    """Each with its file and what people call it."""
    for number, encoder in enumerate(model.text_encoders):
        yield model.file, "second text encoder" if number else "text encoder", encoder
    yield model.file, "UNet", model.denoiser
    for file, net in zip(work.controlnets, nets, strict=True):
        yield file, "T2I-Adapter" if file.variant == ADAPTER else "ControlNet", net
    yield work.vae or model.file, "VAE", model.vae
