"""The control pictures of a job, as its ControlNets are shown them."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from PIL import Image

from generation.masked_pictures import beside
from generation.messages import Generate
from generation.models import ModelFile
from generation.preprocessors import NONE, PREPROCESSORS
from generation.request_parts import ControlUse
from generation.runtime.annotators import seen_by
from generation.runtime.latents import fitted, open_picture
from generation.runtime.masks import Mask
from generation.runtime.parts import Parts
from generation.runtime.prepared import is_prepared
from generation.runtime.preprocessing import WHITE, control_picture

PLAIN: Final = "crop"


def shown(use: ControlUse, work: Generate, mask: Mask | None, parts: Parts) -> Image.Image:
    """That of a ControlNet, in the size that is drawn. Raises JobError."""
    size = (work.request.width, work.request.height)
    picture = open_picture(work.pictures[use.picture])
    if mask is not None and mask.region is not None:
        # of what lies over the masked picture the part that is drawn
        picture = beside(picture, mask, size)
    return prepared(use, picture, size, work.annotators, parts)


def prepared(
    use: ControlUse,
    picture: Image.Image,
    size: tuple[int, int],
    annotators: Mapping[str, ModelFile],
    parts: Parts,
) -> Image.Image:
    """A picture in RGB as its ControlNet is shown it, of width and height `size`. Raises JobError
    where an annotator's file is broken.
    """
    values = np.asarray(picture)
    as_it_is = use.preprocessor == NONE or (use.automatic and is_prepared(use.preprocessor, values))
    if as_it_is and use.fit == PLAIN:
        return fitted(picture, *size)
    if as_it_is:
        return Image.fromarray(control_picture(_untouched(use), values, size, {}))
    needs = PREPROCESSORS[use.preprocessor].needs
    networks = seen_by({need: annotators[need] for need in needs}, parts)
    return Image.fromarray(control_picture(use, values, size, networks))


class ControlsSeen:
    """The control pictures of one job as its ControlNets were shown them, each once; behind them
    the mask that was found by words.
    """

    def __init__(self) -> None:
        self._fresh: dict[tuple[int, int, int], Image.Image] = {}
        self._taken: set[tuple[int, int, int]] = set()

    def note(self, work: Generate, use: ControlUse, pixels: torch.Tensor) -> None:
        """Those of one pass: (1, 3, H, W) from 0 to 1, what is less being black."""
        height, width = pixels.shape[-2:]
        key = (work.request.controls.index(use), width, height)
        if key in self._taken or key in self._fresh:
            return  # a refiner sees the same
        values = (pixels[0].float().clamp(0, 1) * WHITE).round().to(torch.uint8)
        self._fresh[key] = Image.fromarray(values.permute(1, 2, 0).cpu().numpy())

    def note_mask(self, work: Generate, found: Image.Image) -> None:
        """What is found by words, in greys."""
        key = (len(work.request.controls), *found.size)
        if key not in self._taken:
            self._fresh[key] = found.convert("RGB")

    def take(self) -> list[tuple[int, Image.Image]]:
        """What was noted since, by which of the request's ControlNets was shown it."""
        fresh, self._fresh = self._fresh, {}
        self._taken |= fresh.keys()
        return [(index, picture) for (index, _, _), picture in fresh.items()]


def _untouched(use: ControlUse) -> ControlUse:
    return ControlUse(use.name, use.picture, preprocessor=NONE, fit=use.fit)
