"""The pictures that a model edits, as it is shown them: latents beside those that it draws."""

from typing import Final, NamedTuple

import torch
from PIL import Image

from generation.mask_region import Box
from generation.messages import Generate
from generation.references import shown_size
from generation.runtime.checkpoints import Checkpoint
from generation.runtime.latents import StartPicture, open_picture, pixels_of
from generation.runtime.masks import Mask
from generation.runtime.tiling import Tile, Tiles, tiles_of


class ShownReferences(NamedTuple):
    """What a network is shown, (1, C, h, w) each."""

    latents: tuple[torch.Tensor, ...] = ()
    in_tiles: bool = False
    """Whether each tile that is drawn is shown its own part."""

    def beside(self, tile: Tile, factor: int, count: int) -> tuple[torch.Tensor, ...]:
        """What is shown beside that tile of `count` latents; `factor` is that of pixels to them."""
        parts = (tile.of(one, factor) for one in self.latents) if self.in_tiles else self.latents
        return tuple(part.expand(count, -1, -1, -1) for part in parts)


NO_REFERENCES: Final = ShownReferences()


def shown(
    work: Generate,
    model: Checkpoint,
    start: StartPicture | None,
    tiles: Tiles,
    device: torch.device,
    mask: Mask | None = None,
) -> ShownReferences:
    """The pictures of a job, each in the size that its model's family says; where only what is
    masked is drawn, that part of the first.

    In tiles each goes by its part of the picture that is gone over: one that was shown the whole
    would draw it once more. Raises JobError, NotFiniteError.
    """
    if start is not None and len(tiles) > 1:
        return ShownReferences((start.latents(None, 1),), in_tiles=True)
    found = []
    for picture in _resized(work, model, _native(model), mask):
        tile = tiles_of(*picture.size, 0)
        latents = StartPicture.of(model, pixels_of(picture, device), tile).latents(None, 1)
        found.append(latents)
    return ShownReferences(tuple(found))


def seen(work: Generate, model: Checkpoint, mask: Mask | None = None) -> list[Image.Image]:
    """The pictures of a job as its model's text encoder sees them, if it does. Raises JobError."""
    row = model.family.references
    if row is None or not row.seen:
        return []
    return _resized(work, model, _native(model) * row.seen // model.family.native_size, mask)


def drawn_part(work: Generate, mask: Mask | None) -> Box | None:
    """The part of the first picture that is drawn and shown, where that is not all of it."""
    return mask.region.box if work.references and mask is not None and mask.region else None


def _native(model: Checkpoint) -> int:
    return model.file.native_size or model.family.native_size


def _resized(
    work: Generate, model: Checkpoint, native: int, mask: Mask | None
) -> list[Image.Image]:
    """As for a model whose training pictures were `native` pixels a side. Raises JobError."""
    pictures = [open_picture(work.pictures[sha256]) for sha256 in work.references]
    box = drawn_part(work, mask)
    if box is not None:
        assert mask is not None
        assert mask.region is not None
        pictures[0] = mask.region.whole.crop(box)
    return [
        picture.resize(shown_size(picture.size, model.family, native), Image.Resampling.LANCZOS)
        for picture in pictures
    ]
