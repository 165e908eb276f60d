"""A start picture and what of it is drawn anew: what is handed to an engine of it, and how what was
made is put back. Pillow and numpy alone.

As A1111 inpaints: the mask's edge is blurred, latents are one or the other, and what stays is put
back from the picture itself in the end.
"""

from typing import Final, NamedTuple

from PIL import Image, ImageChops, ImageFilter, ImageOps

from generation.canvas import on_canvas
from generation.mask_region import Region
from generation.mask_shapes import WHITE, drawn_part, latent_greys
from generation.request import GenerationRequest

SEEN: Final = 8
"""From an eighth of a mask's white on what was made with its greys is seen alone."""
BLURS: Final = ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1))
"""Radius of a Gaussian in pixels, and how often its picture is laid over those before it."""


class MaskedPicture(NamedTuple):
    """Mask and picture, of the size that is drawn."""

    drawn: Image.Image
    """In greys: white where all is drawn anew, blurred."""
    picture: Image.Image
    """What stays where it is black, in RGB."""
    region: Region | None = None
    """Of a whole picture, where only what is masked is drawn."""
    differential: bool = False
    """Whether its greys say how much each place changes."""

    def pasted(self, made: Image.Image) -> Image.Image:
        """A picture that was made, with what stays put back; pixels that the mask, blurred, does
        not touch are the picture's own, to the last bit.
        """
        if self.region is not None:
            return self.region.pasted(made)
        if self.differential:
            return Image.composite(made, self.picture, changed(self.drawn))
        # half drawn is drawn: the picture's own pixels end where the latents' do
        return Image.composite(made, self.picture, ImageChops.add(self.drawn, self.drawn))

    def in_latents(self, width: int, height: int) -> Image.Image | None:
        """In greys: white where a latent is drawn anew, else black, or how much it changes; None
        where none is.
        """
        greys = latent_greys(self.drawn, width, height)
        found = greys if self.differential else rounded(greys)
        return None if found.getbbox() is None else found

    def beginning(self, request: GenerationRequest) -> Image.Image:
        """The picture, filled where that is asked for."""
        if request.masked_content != "fill":
            return self.picture
        return filled(self.picture, self.drawn, canvas=request.extension is not None)


def masked_picture(
    request: GenerationRequest, picture: Image.Image, mask: Image.Image | None
) -> MaskedPicture | None:
    """Of a request with a start picture in RGB and its mask, or a larger canvas that needs none;
    None where only what is masked is drawn, and nothing is.
    """
    size = request.width, request.height
    if request.extension is not None:
        picture = on_canvas(picture, request.extension)
    part = drawn_part(request, mask, picture.size)
    if part is None:
        return None
    differential = request.differential == "on"
    if part.whole is None or part.box is None:
        fitting = ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
        return MaskedPicture(part.greys, fitting, differential=differential)
    shown = changed(part.whole) if differential else part.whole
    region = Region(picture, shown, part.box)
    return MaskedPicture(part.greys, region.cut(picture, *size), region, differential)


def begins_as_trained(request: GenerationRequest) -> bool:
    """Whether a model for inpainting begins with noise alone, and is shown what stays: all is drawn
    anew, and nobody asks for another content or for greys.
    """
    return (
        request.denoising_strength == 1
        and request.masked_content == "original"
        and request.differential == "off"
    )


def rounded(greys: Image.Image) -> Image.Image:
    """White and black alone."""
    return greys.point(lambda grey: 255 * (grey >= WHITE))


def changed(greys: Image.Image) -> Image.Image:
    """What is seen of a picture that was made with greys: it is a mixture already, and all of it is
    seen but for where next to nothing changes.
    """
    return greys.point(lambda grey: min(255, grey * SEEN))


def beside(picture: Image.Image, mask: MaskedPicture | None, size: tuple[int, int]) -> Image.Image:
    """Another picture of a job, in the size that is drawn: of one that lies over the masked picture
    the same part.
    """
    if mask is None or mask.region is None:
        return ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
    whole = ImageOps.fit(picture, mask.region.whole.size, Image.Resampling.LANCZOS)
    return mask.region.cut(whole, *size)


def filled(picture: Image.Image, drawn: Image.Image, *, canvas: bool = False) -> Image.Image:
    """A picture in RGB whose part that is drawn anew has the colours around it, flowing into it;
    `drawn`, in greys, is white there.

    Source of the recipe: `fill` of A1111's modules/masking.py: what stays is blurred, from far to
    near, and each blur laid over the one before as far as it reaches. On a `canvas` the picture's
    edge is drawn out already, and seen where none does.
    """
    stays = picture.convert("RGBA")
    stays.putalpha(ImageChops.invert(drawn))
    # blurred with the alpha multiplied in, so that what is masked has no colour
    outside = stays.convert("RGBa")
    found = picture.convert("RGBA") if canvas else Image.new("RGBA", picture.size)
    for radius, times in BLURS:
        blurred = outside.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(times):
            found.alpha_composite(blurred)
    return found.convert("RGB")
