"""The pictures that ComfyUI is handed: what a job starts from, its masks, its control pictures."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Final

from PIL import Image, ImageOps

from generation.comfyui.graph import PassPictures
from generation.comfyui.passes import ComfyUIPass
from generation.families.control import REPAINT
from generation.masked_pictures import (
    MaskedPicture,
    begins_as_trained,
    beside,
    masked_picture,
    rounded,
)
from generation.messages import Generate
from generation.preprocessors import NONE
from generation.programs.faults import EndedError
from generation.programs.pictures import layers, opaque, png
from generation.request_parts import ControlUse

INPAINTING: Final = "inpainting"
"""The variant of a checkpoint that is shown what stays."""
FACTOR: Final = 8
"""Pixels of a side of a latent."""
PLAIN_FIT: Final = "crop"

Prepare = Callable[[ControlUse, bytes, tuple[int, int]], Awaitable[bytes]]
"""What makes a control picture of that size of a PNG."""
UploadPicture = Callable[[str, bytes], Awaitable[str]]
"""Gives ComfyUI's name of a picture of that name."""


class Shown:
    """Those of one job; `upload` hands one over, which is done once for each."""

    def __init__(self, upload: UploadPicture) -> None:
        self._upload = upload
        self._names: dict[str, str] = {}

    async def name(self, picture: Image.Image) -> str:
        """ComfyUI's name of a picture."""
        return await self.name_of(await asyncio.to_thread(png, picture))

    async def name_of(self, data: bytes) -> str:
        """The same of its PNG."""
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 not in self._names:
            self._names[sha256] = await self._upload(f"{sha256[:32]}.png", data)
        return self._names[sha256]

    async def beginning(
        self, step: ComfyUIPass, start: Image.Image | None, masked: MaskedPicture | None
    ) -> PassPictures:
        """What a pass begins with, and of an inpainting model what it sees. Raises EndedError where
        its mask is too fine."""
        request, found = step.request, PassPictures()
        if step.checkpoint.variant == INPAINTING:
            whole, kept = _outside(step, masked)
            found = PassPictures(whole_mask=await self.name(whole), masked=await self.name(kept))
            if masked is not None and begins_as_trained(request):
                return found
        if start is None:
            return found
        if masked is not None:
            size = request.width // FACTOR, request.height // FACTOR
            greys = await asyncio.to_thread(masked.in_latents, *size)
            if greys is None:
                raise EndedError("mask_too_fine")
            found = found._replace(mask=await self.name(greys))
        return found._replace(start=await self.name(start))


def start_of(work: Generate) -> tuple[Image.Image | None, MaskedPicture | None]:
    """The picture that a job starts from, in its size, and of a masked one the mask. Raises
    EndedError and Refused.
    """
    request = work.request
    if request.init_picture is None or work.enlargement is not None:
        return None, None
    picture = opaque(work.pictures[request.init_picture])
    if not request.has("mask"):
        size = request.width, request.height
        return ImageOps.fit(picture, size, Image.Resampling.LANCZOS), None
    mask = None if request.mask is None else opaque(work.pictures[request.mask])
    masked = masked_picture(request, picture, mask)
    if masked is None:
        raise EndedError("mask_too_fine")
    return masked.beginning(request), masked


async def control_picture(
    work: Generate,
    step: ComfyUIPass,
    use: ControlUse,
    masked: MaskedPicture | None,
    prepare: Prepare,
) -> bytes:
    """A PNG of what a ControlNet is shown. Raises Refused, and whatever `prepare` does."""
    size = step.request.width, step.request.height

    def given() -> Image.Image:
        picture = opaque(work.pictures[use.picture])
        if masked is not None and masked.region is not None:
            # of what lies over the masked picture the part that is drawn
            return beside(picture, masked, size)
        return picture

    def hidden(picture: Image.Image) -> Image.Image:
        if masked is None or use.kind != REPAINT:
            return picture
        black = Image.new("RGB", picture.size)
        return Image.composite(black, picture, rounded(masked.drawn))

    picture = await asyncio.to_thread(given)
    if use.preprocessor == NONE and use.fit == PLAIN_FIT:
        plain = ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
        return await asyncio.to_thread(png, hidden(plain))
    made = await prepare(use, await asyncio.to_thread(png, picture), size)
    return await asyncio.to_thread(png, hidden(layers(made).convert("RGB")))


def _outside(step: ComfyUIPass, masked: MaskedPicture | None) -> tuple[Image.Image, Image.Image]:
    """What a model for inpainting sees: its mask, and the picture outside it; without a mask all is
    drawn anew.
    """
    if masked is not None:
        return rounded(masked.drawn), masked.picture
    size = step.request.width, step.request.height
    return Image.new("L", size, 255), Image.new("RGB", size)
