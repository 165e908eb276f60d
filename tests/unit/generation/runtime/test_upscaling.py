"""Upscalers: networks of many makes in tiles, any factor, and what is none."""

import random
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageChops
from safetensors.torch import save_file

from generation.enlarged_sizes import plainly
from generation.models import ModelFile, ModelKind
from generation.runtime import upscaling
from generation.runtime.faults import JobError, NotFiniteError
from generation.runtime.latents import pixels_of
from generation.runtime.spandrel import spandrel
from generation.runtime.upscaling import enlarge, load_upscaler

CPU = torch.device("cpu")


def tiny(name: str) -> Any:
    """A small network of random weights of that make."""
    made = spandrel().architectures
    torch.manual_seed(7)
    match name:
        case "Compact":
            return made.Compact.Compact(num_feat=16, num_conv=2, upscale=4)
        case "Compact x2":
            return made.Compact.Compact(num_feat=8, num_conv=1, upscale=2)
        case "ESRGAN":
            return made.ESRGAN.ESRGAN(num_filters=8, num_blocks=1, scale=4)
        case "SwinIR":
            return made.SwinIR.SwinIR(
                upscale=2, window_size=8, depths=[2], embed_dim=12, num_heads=[2], mlp_ratio=2,
                upsampler="pixelshuffledirect", resi_connection="1conv",
            )  # fmt: skip
        case "DAT":
            return made.DAT.DAT(
                upscale=2, img_size=16, split_size=[8, 8], depth=[2], embed_dim=32, num_heads=[2],
                expansion_factor=2, resi_connection="1conv",
            )  # fmt: skip
        case "HAT":
            return made.HAT.HAT(
                upscale=2, window_size=8, depths=[2], embed_dim=12, num_heads=[2],
                compress_ratio=3, squeeze_factor=6, mlp_ratio=2, overlap_ratio=0.5,
                upsampler="pixelshuffle", resi_connection="1conv",
            )  # fmt: skip
        case "GFPGAN":
            return made.GFPGAN.GFPGANv1Clean(out_size=16, narrow=0.0625, num_style_feat=16)
    raise ValueError(name)


def saved(network: Any, folder: Path, half: bool = False) -> ModelFile:
    path = folder / "net.safetensors"
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    if half:
        state = {n: t.half() if t.is_floating_point() else t for n, t in state.items()}
    save_file(state, path)
    return ModelFile(kind=ModelKind.UPSCALER, name="net", path=path, family="")


def drawing(width: int, height: int) -> Image.Image:
    chance = random.Random(1)
    picture = Image.new("RGB", (width, height), "orange")
    for _ in range(12):
        left, top = chance.randrange(width), chance.randrange(height)
        colour = (chance.randrange(256), chance.randrange(256), chance.randrange(256))
        picture.paste(colour, (left, top, left + width // 3, top + height // 4))
    return picture


def apart(one: Image.Image, other: Image.Image) -> int:
    return max(ImageChops.difference(one, other).tobytes())


@pytest.mark.filterwarnings("ignore:torch.meshgrid")
@pytest.mark.parametrize("name", ["Compact", "ESRGAN", "SwinIR", "DAT", "HAT"])
@pytest.mark.parametrize("half", [False, True])
def test_every_make_enlarges_as_its_network_does(name: str, half: bool, tmp_path: Path) -> None:
    network = load_upscaler(saved(tiny(name), tmp_path, half), torch.float32)
    picture = drawing(45, 30)
    scale = network.about.scale
    made = enlarge(network, picture, (45 * scale, 30 * scale), CPU, lambda _: None)
    # by hand: the picture continued at its edges, in one piece
    pixels = pixels_of(picture, CPU)
    padded = torch.nn.functional.pad(pixels, (8, 11, 8, 10), "replicate")
    with torch.no_grad():
        whole = network.about(padded)[0, :, 8 * scale : 38 * scale, 8 * scale : 53 * scale]
    wanted = (whole.clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
    assert apart(made, Image.fromarray(wanted.numpy())) == 0


@pytest.mark.filterwarnings("ignore:torch.meshgrid")
@pytest.mark.parametrize("name", ["Compact", "ESRGAN", "SwinIR", "HAT"])
def test_tiles_show_no_seam(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = load_upscaler(saved(tiny(name), tmp_path), torch.float32)
    picture, scale = drawing(150, 100), network.about.scale
    size = (150 * scale, 100 * scale)
    whole = enlarge(network, picture, size, CPU, lambda _: None)
    shares: list[float] = []
    monkeypatch.setattr(upscaling, "CPU_TILE", 64)
    tiled = enlarge(network, picture, size, CPU, shares.append)
    assert len(shares) > 4
    assert shares == sorted(shares)
    assert shares[-1] == 1
    if name in ("Compact", "ESRGAN"):
        # they see less far than tiles overlap
        assert apart(whole, tiled) <= 1
    else:
        difference = ImageChops.difference(whole, tiled).convert("L")
        # a step along a seam would be a line in what differs
        assert max(difference.resize((size[0], 1), Image.Resampling.BOX).tobytes()) <= 2
        assert max(difference.resize((1, size[1]), Image.Resampling.BOX).tobytes()) <= 2


@pytest.mark.parametrize(
    ("name", "factor", "calls"),
    [("Compact", 4, 1), ("Compact", 2.5, 1), ("Compact", 5, 2), ("Compact x2", 8, 3)],
)
def test_any_factor(name: str, factor: float, calls: int, tmp_path: Path) -> None:
    network = load_upscaler(saved(tiny(name), tmp_path), torch.float32)
    size = (round(20 * factor), round(13 * factor))
    shares: list[float] = []
    assert enlarge(network, drawing(20, 13), size, CPU, shares.append).size == size
    assert len(shares) == calls
    assert shares[-1] == pytest.approx(1)


def test_a_network_of_grey_pictures_enlarges_each_colour(tmp_path: Path) -> None:
    torch.manual_seed(1)
    grey = spandrel().architectures.Compact.Compact(
        num_in_ch=1, num_out_ch=1, num_feat=8, num_conv=1, upscale=2
    )
    network = load_upscaler(saved(grey, tmp_path), torch.float32)
    made = enlarge(network, drawing(16, 16), (32, 32), CPU, lambda _: None)
    red, _, _ = drawing(16, 16).split()
    alone = enlarge(network, Image.merge("RGB", (red,) * 3), (32, 32), CPU, lambda _: None)
    assert apart(made.split()[0].convert("RGB"), alone) == 0


def test_memory_that_runs_out_makes_the_tiles_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = load_upscaler(saved(tiny("Compact"), tmp_path), torch.float32)
    picture = drawing(300, 40)
    wanted = enlarge(network, picture, (1200, 160), CPU, lambda _: None)
    seen: list[int] = []
    about = network.about

    class Short:
        scale, input_channels = about.scale, about.input_channels

        def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
            seen.append(pixels.shape[-1])
            if pixels.shape[-1] > 128:
                raise torch.OutOfMemoryError
            made: torch.Tensor = about(pixels)
            return made

    network.about = Short()
    made = enlarge(network, picture, (1200, 160), CPU, lambda _: None)
    assert (seen[0], max(seen[1:])) == (256, 128)
    assert apart(made, wanted) <= 1
    monkeypatch.setattr(upscaling, "TILES", (256,))
    with pytest.raises(torch.OutOfMemoryError):
        enlarge(network, picture, (1200, 160), CPU, lambda _: None)


def test_what_is_no_number_is_no_picture(tmp_path: Path) -> None:
    network = tiny("Compact")
    network.body[0].weight.data[0, 0, 0, 0] = float("nan")
    loaded = load_upscaler(saved(network, tmp_path), torch.float32)
    with pytest.raises(NotFiniteError):
        enlarge(loaded, drawing(16, 16), (64, 64), CPU, lambda _: None)


def test_what_enlarges_nothing_is_named(tmp_path: Path) -> None:
    file = saved(torch.nn.Linear(2, 2), tmp_path)
    with pytest.raises(JobError) as error:
        load_upscaler(file, torch.float32)
    assert (error.value.code, error.value.params) == ("upscaler_kind", {"name": "net"})


def test_without_the_library_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(tiny("Compact"), tmp_path)

    def missing() -> Any:
        raise ModuleNotFoundError("No module named 'spandrel'")

    monkeypatch.setattr(upscaling, "spandrel", missing)
    with pytest.raises(JobError) as error:
        load_upscaler(file, torch.float32)
    assert error.value.code == "upscaler_library_missing"


def test_importing_leaves_no_stand_in_behind() -> None:
    spandrel()
    stand_in = sys.modules.get("torchvision")
    assert stand_in is None or hasattr(stand_in, "__file__")


def test_without_a_network() -> None:
    picture = drawing(20, 10)
    assert plainly("Nearest", picture, (40, 20)).getcolors() == [
        (count * 4, colour) for count, colour in picture.getcolors() or ()
    ]
    smooth = plainly("Lanczos", picture, (50, 25))
    assert smooth.size == (50, 25)
    assert len(smooth.getcolors(2000) or ()) > len(picture.getcolors() or ())
