"""Pictures enlarged: by a network that spandrel knows, in tiles, or by plain interpolation."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any, Final

import structlog
import torch
import torch.nn.functional as F  # noqa: N812  (the customary name)
from PIL import Image
from safetensors.torch import load_file

from generation import enlarged_sizes
from generation.enlarged_sizes import BORDER
from generation.models import ModelFile
from generation.request_fields import SIDE_STEP
from generation.runtime.device import free_unused
from generation.runtime.faults import JobError, NotFiniteError, is_out_of_memory
from generation.runtime.latents import pixels_of
from generation.runtime.spandrel import spandrel
from generation.runtime.tiling import blended, tiles_of

log = structlog.get_logger(__name__)

TILES: Final = (512, 256, 128, 64)
"""Sides in pixels of what the network sees at once: the next where memory runs out."""
CPU_TILE: Final = 256
"""The largest on a processor, where a larger one would keep silent for too long."""
ENLARGES: Final = ("SR", "Restoration")
"""What spandrel says a network is for; others fill holes or mend faces."""


def load_upscaler(file: ModelFile, dtype: torch.dtype) -> Any:
    """The network of a safetensors file, in that precision or in float32 where it takes no other.

    It has the attribute `about`, spandrel's description. Raises JobError for a file that holds no
    upscaler, or where spandrel is not installed, and whatever a library says of a broken one.
    """
    try:
        library = spandrel()
    except ModuleNotFoundError as error:
        raise JobError("upscaler_library_missing", name=file.name) from error
    state = load_file(file.path)
    try:
        about = library.ModelLoader().load_from_state_dict(state)
    except library.UnsupportedModelError as error:
        raise JobError("upscaler_kind", name=file.name) from error
    if about.purpose not in ENLARGES or about.input_channels not in (1, 3):
        raise JobError("upscaler_kind", name=file.name)
    halves = {torch.float16: about.supports_half, torch.bfloat16: about.supports_bfloat16}
    network = about.model.eval().requires_grad_(False)
    network.to(dtype if halves.get(dtype, True) else torch.float32)
    network.about = about
    return network


def enlarge(
    network: Any,
    picture: Image.Image,
    size: tuple[int, int],
    device: torch.device,
    after_tile: Callable[[float], None],
) -> Image.Image:
    """An RGB picture of `size` in pixels, by as many passes of `network` as that takes and Lanczos
    for the rest. `after_tile` hears which share is done, and may raise to stop.

    Raises NotFiniteError.
    """
    scale = network.about.scale
    passes = enlarged_sizes.passes(picture.size, size, scale)
    # a pass costs as many times more as it has more pixels
    costs = [float(scale ** (2 * number)) for number in range(passes)]
    for number, cost in enumerate(costs):
        before = sum(costs[:number])

        def after_part(share: float, before: float = before, cost: float = cost) -> None:
            after_tile((before + share * cost) / sum(costs))

        picture = _one_pass(network, picture, device, after_part)
    return picture.resize(size, Image.Resampling.LANCZOS) if picture.size != size else picture


def _one_pass(
    network: Any, picture: Image.Image, device: torch.device, after_tile: Callable[[float], None]
) -> Image.Image:
    """Tiles get smaller until one fits into memory."""
    sides = [side for side in TILES if device.type != "cpu" or side <= CPU_TILE]
    for side in sides:
        try:
            return _in_tiles(network, picture, device, side, after_tile)
        except Exception as error:
            if not is_out_of_memory(error) or side == sides[-1]:
                raise
        log.warning("out of memory: smaller tiles", side=side)
        free_unused()
    raise AssertionError("the last tile has returned or raised")


def _in_tiles(
    network: Any,
    picture: Image.Image,
    device: torch.device,
    side: int,
    after_tile: Callable[[float], None],
) -> Image.Image:
    about, dtype = network.about, next(network.parameters()).dtype
    values = pixels_of(picture, torch.device("cpu"))
    right, below = -picture.width % SIDE_STEP, -picture.height % SIDE_STEP
    around = (BORDER, BORDER + right, BORDER, BORDER + below)
    padded = F.pad(values, around, "replicate")
    tiles = tiles_of(padded.shape[-1], padded.shape[-2], side)
    done = 0

    def part(tile: Any) -> torch.Tensor:
        nonlocal done
        pixels = tile.of(padded, 1).to(device, dtype)
        if about.input_channels == 1:
            # each colour is a picture of its own
            pixels = pixels.transpose(0, 1)
        made: torch.Tensor = about(pixels)
        if about.input_channels == 1:
            made = made.transpose(0, 1)
        if not torch.isfinite(made).all():
            raise NotFiniteError
        done += 1
        after_tile(done / len(tiles))
        # a large picture fits into the computer's memory, where it may not into the card's
        return made[:, :3].float().cpu()

    made = blended(tiles, Fraction(1, about.scale), part)[0]
    top, left = BORDER * about.scale, BORDER * about.scale
    height, width = picture.height * about.scale, picture.width * about.scale
    whole = made[:, top : top + height, left : left + width].clamp(0, 1) * 255
    return Image.fromarray(whole.round().to(torch.uint8).permute(1, 2, 0).numpy())
