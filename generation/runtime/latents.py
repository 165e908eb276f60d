"""Between PNG bytes, Pillow, pixels and latents."""

import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import structlog
import torch
from PIL import Image, ImageOps
from torch.nn import functional

from generation.memory_needs import TILE_PIXELS
from generation.runtime.autoencoders import LatentScaling, make_of
from generation.runtime.checkpoints import Checkpoint
from generation.runtime.faults import JobError, NotFiniteError
from generation.runtime.lessons import Lessons
from generation.runtime.tiling import Tile, Tiles, blended

log = structlog.get_logger(__name__)

INPAINTING, EDITING, FILLING, FOLLOWING = 5, 4, 80, 16
"""Channels of a network's input beside the latents: a mask and the latents of what is outside it;
the latents of the picture that is edited (InstructPix2Pix); the latents of what is outside a mask,
and each of the 8 x 8 pixels of the mask that a latent covers (Flux.1 Fill); the latents of a
picture of depth or edges (Flux.1 Depth and Canny)."""
GREY: Final = 0.5
"""What a model for inpainting sees where it draws."""


def open_picture(data: bytes) -> Image.Image:
    """The picture in these bytes, in RGB, on white where it is transparent. Raises JobError."""
    picture, kept = open_layers(data)
    if kept is None:
        return picture
    return Image.composite(picture, Image.new("RGB", picture.size, "white"), kept)


def open_layers(data: bytes) -> tuple[Image.Image, Image.Image | None]:
    """The picture in these bytes, in RGB, and how much of each pixel shows, in L; None where all is
    opaque. Raises JobError.
    """
    try:
        with Image.open(io.BytesIO(data)) as picture:
            if not picture.has_transparency_data:
                return picture.convert("RGB"), None
            layers = picture.convert("RGBA")
            return layers.convert("RGB"), layers.getchannel("A")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise JobError("picture_unreadable") from error


def fitted(picture: Image.Image, width: int, height: int) -> Image.Image:
    """The picture so that it covers width x height pixels, cropped at its centre."""
    return ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)


def pixels_of(picture: Image.Image, device: torch.device) -> torch.Tensor:
    """(1, 3, H, W), from 0 to 1."""
    values = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    shaped = values.view(picture.height, picture.width, 3).permute(2, 0, 1)[None]
    return shaped.to(device).float() / 255


def fitted_pixels(data: bytes, width: int, height: int, device: torch.device) -> torch.Tensor:
    """Those of the picture in a file, at that size: (1, 3, H, W), from 0 to 1. Raises JobError."""
    return pixels_of(fitted(open_picture(data), width, height), device)


class StartPicture(NamedTuple):
    """What the VAE makes of a picture: the mean and the spread of its latents, (1, C, h, w) each,
    and how they are handed to the denoiser.
    """

    mean: torch.Tensor
    spread: torch.Tensor
    scaling: LatentScaling

    @classmethod
    def of(cls, model: Checkpoint, picture: torch.Tensor, tiles: Tiles) -> "StartPicture":
        """Of pixels (1, 3, H, W) from 0 to 1."""
        vae = model.vae
        make = make_of(vae)
        pixels = picture.to(vae.dtype) * 2 - 1

        def part(tile: Tile) -> torch.Tensor:
            return torch.cat(make.encode(vae, tile.of(pixels, 1)), dim=1)

        mean, spread = blended(tiles, model.factor, part).float().chunk(2, dim=1)
        if not torch.isfinite(mean).all():
            raise NotFiniteError
        return cls(mean, spread, make.scaling(vae, mean.device))

    def latents(self, noise: torch.Tensor | None, count: int) -> torch.Tensor:
        """(count, C, h, w), as the denoiser has them: drawn with that noise, or the mean.

        A1111 draws them with whatever torch's own generator gives then, which after a picture of
        the same seed is that picture's initial noise.
        """
        found = self.mean if noise is None else self.mean + self.spread * noise
        return self.scaled(found).expand(count, -1, -1, -1)

    def scaled(self, latents: torch.Tensor) -> torch.Tensor:
        """As the denoiser has them."""
        return self.scaling.scaled(latents)


def fills(model: Checkpoint) -> bool:
    """Whether a model is for inpainting: it is shown what stays."""
    return model.further_channels in (INPAINTING, FILLING)


def further_channels(
    model: Checkpoint,
    start: StartPicture | None,
    followed: torch.Tensor | None,
    kept: torch.Tensor,
    drawn: torch.Tensor,
    tiles: Tiles,
    *,
    comfyui: bool = False,
) -> torch.Tensor | None:
    """What a network of more input channels is shown beside the latents, (1, D, h, w); else None.

    `followed` are the pixels of the control picture of one that follows one itself, as `fitted`
    gives them. A model for inpainting sees the picture's pixels `kept` (1, 3, H, W) and grey
    wherever `drawn` (1, 1, H, W) is 1, and that mask: as A1111 has it each latent's first pixel of
    it, as ComfyUI has it what is in its middle, and Flux.1 Fill all of them.
    """
    missing = model.further_channels
    if missing == 0:
        return None
    if missing == EDITING:
        # as it was trained: neither drawn nor scaled
        if start is None:
            raise JobError("start_picture_needed", model=model.file.name)
        return start.mean
    if missing == FOLLOWING:
        if followed is None:
            raise JobError("control_picture_needed", model=model.file.name)
        return StartPicture.of(model, followed, tiles).latents(None, 1)
    if missing not in (INPAINTING, FILLING):
        raise JobError("model_broken", file=model.file.name, why=f"{missing} channels too many")
    masked = StartPicture.of(model, kept * (1 - drawn) + GREY * drawn, tiles)
    outside = masked.scaled(masked.mean)
    if missing == INPAINTING:
        mask = functional.interpolate(drawn, outside.shape[-2:])
        if comfyui:
            mask = functional.interpolate(drawn, outside.shape[-2:], mode="bilinear").round()
        return torch.cat((mask, outside), dim=1)
    # of Flux.1 Fill the mask stands behind
    return torch.cat((outside, functional.pixel_unshuffle(drawn, model.factor)), dim=1)


def decode(
    model: Checkpoint,
    latent: torch.Tensor,
    tiles: Tiles,
    lessons: Lessons,
    wanted: torch.dtype | None = None,
    *,
    down: bool = False,
) -> tuple[Image.Image, torch.dtype]:
    """The picture of one latent of shape (C, h, w), scaled as the denoiser has it, and in which
    precision it was decoded.

    The VAE of SDXL and those of some merges overflow in float16: then in float32, and from then on
    at once. What a picture was decoded in that is drawn again is `wanted`, whatever was learned
    since. Values are rounded, `down` as ComfyUI does, else to the nearest. Raises NotFiniteError.
    """
    vae = model.vae
    scaled = make_of(vae).scaling(vae, latent.device).unscaled(latent[None])
    wider = lessons.overflows(vae.origin) if wanted is None else wanted == torch.float32
    if not wider or vae.dtype == torch.float32:
        try:
            pixels = _decoded(model, vae, scaled.to(vae.dtype), tiles)
            return _to_pillow(pixels, down), vae.dtype
        except NotFiniteError:
            if vae.dtype == torch.float32:
                raise
        log.warning("the VAE overflows: from now on in float32")
        lessons.has_overflowed(vae.origin)
    if not hasattr(vae, "float32_copy"):
        # past torch, which would take it for a part of the VAE
        object.__setattr__(vae, "float32_copy", _in_float32(vae, latent.device))
    pixels = _decoded(model, vae.float32_copy, scaled.float(), tiles)
    return _to_pillow(pixels, down), torch.float32


@contextlib.contextmanager
def frugal(vaes: Sequence[Any], short_of_memory: bool) -> Iterator[None]:
    """Where memory is short VAEs work on small tiles."""
    if short_of_memory:
        for vae in vaes:
            for used in (vae, getattr(vae, "float32_copy", vae)):
                in_tiles(used)
    try:
        yield
    finally:
        for vae in vaes:
            for used in (vae, getattr(vae, "float32_copy", vae)):
                used.disable_tiling()


def in_tiles(vae: Any) -> None:
    """Have a VAE work on tiles; its own are as large as its family's pictures."""
    make_of(vae).tile(vae, TILE_PIXELS)


def _decoded(model: Checkpoint, vae: Any, scaled: torch.Tensor, tiles: Tiles) -> torch.Tensor:
    """Pixels of shape (3, H, W)."""

    def part(tile: Tile) -> torch.Tensor:
        return make_of(vae).decode(vae, tile.of(scaled, model.factor))

    return blended(tiles, 1, part)[0]


def _in_float32(vae: Any, device: torch.device) -> Any:
    """A copy; one that is offloaded can't be cast where it is."""
    copy = type(vae).from_config(vae.config)
    copy.load_state_dict({name: tensor.float() for name, tensor in vae.state_dict().items()})
    if vae.use_tiling:
        in_tiles(copy)
    return copy.to(device).eval()


def _to_pillow(pixels: torch.Tensor, down: bool) -> Image.Image:
    """A decoded picture of shape (3, H, W), values -1 to 1. Raises NotFiniteError."""
    if not torch.isfinite(pixels).all():
        raise NotFiniteError
    values = ((pixels.float() + 1) / 2).clamp(0, 1) * 255
    bytes_ = (values if down else values.round()).to(torch.uint8)
    return Image.fromarray(bytes_.permute(1, 2, 0).cpu().numpy())
