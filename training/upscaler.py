"""The upscaler: pictures (N, 3, H, W) in 0..1 to (N, 3, 4 H, 4 W), for art like the demo's.

It learns from all of the emoji art but every tenth picture, at its full 256 pixels, and from small
pictures that are as the demo makes them: scaled down in several ways, blurred, noisy, or passed
through the demo's autoencoder. The architecture is the compact one of Real-ESRGAN, which every
program reads that knows upscalers.
"""

import math
import random
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (the customary name)
from diffusers import AutoencoderKL
from PIL import Image, ImageFilter, ImageOps
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from generation.enlarged_sizes import BORDER
from generation.runtime.spandrel import spandrel
from training.art import SIZE, Art, ArtError, hexcodes, random_for, sprite_path
from training.loop import Budget, Run, cosine
from training.precision import mixed_precision
from training.styles import pencil_sketch, pixel_art
from training.things import COLOURS
from training.vae import to_tensor

SCALE = 4
SIDE = 48  # pixels of a small picture in training
BATCH = 8
DECODED = 2  # of a batch pass through the demo's autoencoder, with things as large as it draws
SHOWN = 12  # held-out scenes that are measured while it trains
SEED = "upscaler"
LARGEST = 280  # pixels of a sprite that is painted
HELD_OUT = 10  # every so many-th sprite is never trained on
FEATURES, CONVOLUTIONS = 64, 12
FITTED = 24
"""Lessons that the interpolation is fitted to, from which training begins."""
REDUCERS = (
    Image.Resampling.BOX,
    Image.Resampling.BILINEAR,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
)


class LargeArt:
    """All the emoji art at its own size; `sprites` train, `held_out` never do.

    `known` are those of `sprites` that the demo draws, `strange` the others.
    """

    def __init__(self, art: Art) -> None:
        codes = hexcodes(art.folder)
        paths = [path for label in sorted(codes) if (path := _drawn(art.folder, codes, label))]
        self.held_out = paths[::HELD_OUT]
        self.sprites = [path for i, path in enumerate(paths) if i % HELD_OUT]
        self.known = sorted(set(art.paths) & set(self.sprites))
        self.strange = sorted(set(self.sprites) - set(art.paths))

    @staticmethod
    @lru_cache(maxsize=256)
    def load(path: Path) -> Image.Image:
        """The sprite, straight alpha, 256 pixels a side."""
        with Image.open(path) as picture:
            return picture.convert("RGBA")

    def paint(
        self, rng: random.Random, sprites: list[Path], side: int, smallest: int = 64
    ) -> Image.Image:
        """Up to three of `sprites` on a shaded background, `side` pixels square.

        A sprite is at least `smallest` pixels wide, and at most its own 256 and a little over:
        larger ones would teach softness.
        """
        base = np.array(rng.choice(list(COLOURS.values())), np.float32)
        base = base + np.array([rng.uniform(-25, 25) for _ in range(3)], np.float32)
        slope = rng.uniform(-30, 30)
        shade = np.linspace(slope, -slope, side, dtype=np.float32)[:, None, None]
        canvas = np.clip(np.broadcast_to(base, (side, side, 3)) + shade, 0, 255)
        picture = Image.fromarray(canvas.round().astype(np.uint8))
        for path in rng.sample(sprites, rng.choice((1, 1, 2, 3))):
            width = round(math.exp(rng.uniform(math.log(smallest), math.log(LARGEST))))
            sprite = self.load(path).resize((width, width), Image.Resampling.LANCZOS)
            if rng.random() < 0.5:
                sprite = ImageOps.mirror(sprite)
            reach = side - width // 2
            at = (rng.randint(-width // 2, reach), rng.randint(-width // 2, reach))
            picture.paste(sprite, at, sprite)
        return picture


def _drawn(folder: Path, codes: dict[str, str], label: str) -> Path | None:
    try:
        return sprite_path(folder, codes, label)
    except ArtError:
        return None  # flags and the newest emoji have no picture


def new_network() -> Any:
    """An untrained network of 0.5 M parameters."""
    compact = spandrel().architectures.Compact.Compact
    return compact(num_feat=FEATURES, num_conv=CONVOLUTIONS, upscale=SCALE, act_type="prelu")


def train_upscaler(
    art: Art, demo: Path, folder: Path, budget: Budget, device: torch.device, target: Path
) -> None:
    """Train in `folder`/upscaler and write the network to the file `target`, in half precision.

    `demo` is the folder of the pipeline whose pictures it shall enlarge.
    """
    torch.manual_seed(0)
    large, model = LargeArt(art), new_network().to(device)
    vae = AutoencoderKL.from_pretrained(demo / "vae", torch_dtype=torch.float32).to(device).eval()
    start_as_interpolation(model, large)
    groups: list[dict[str, object]] = [{"params": list(model.parameters())}]
    run = Run(folder / "upscaler", model, groups, lr=5e-4, weight_decay=0.0)

    def loss(step: int, progress: float) -> Tensor:
        small, wanted = _lesson(large, vae, step)
        with mixed_precision(device):
            made = model(small.to(device))
        # beyond the borders the network sees black, as it does in no tile
        return _difference(_inner(made.float()), _inner(wanted.to(device)))

    def snapshot() -> None:
        psnr = float(np.mean([_psnr(model, scene) for scene in scenes]))
        print(f"upscaler: step {run.step}: {psnr:.2f} dB on held-out art", flush=True)

    scenes = held_out_scenes(large, SHOWN)
    run.train(loss, budget, schedule=cosine, snapshot=snapshot)
    with run.averaged():
        target.parent.mkdir(parents=True, exist_ok=True)
        weights = {name: p.detach().half().contiguous() for name, p in model.state_dict().items()}
        save_file(weights, target, metadata={"format": "pt"})


@torch.no_grad()
def start_as_interpolation(model: Any, large: LargeArt) -> None:
    """Set the weights so that `model` begins as the best linear interpolation of 3 x 3 pixels.

    Three channels carry the colours to the last convolution unchanged, where a filter fitted to the
    art by least squares makes SCALE x SCALE pixels of each; the others begin with no say there.
    From random weights a network takes hours to be as good as bicubic.
    """
    layers = list(model.body)
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    convolution: Any
    for convolution in convolutions[:-1]:
        convolution.weight[:3], convolution.bias[:3] = 0, 0
        for colour in range(3):
            convolution.weight[colour, colour, 1, 1] = 1
    for layer in layers:
        if isinstance(layer, nn.PReLU):
            layer.weight[:3] = 1
    last: Any = convolutions[-1]
    last.weight.zero_()
    last.bias.zero_()
    taps = _fitted(large)
    taps[4] -= 1  # the architecture adds the pixel itself
    for colour in range(3):
        rows = slice(colour * SCALE**2, (colour + 1) * SCALE**2)
        last.weight[rows, colour] = taps.T.reshape(SCALE**2, 3, 3)


def _fitted(large: LargeArt) -> Tensor:
    """Weights (9, SCALE²) of the 3 x 3 small pixels around each large one."""
    inputs, outputs = [], []
    for number in range(FITTED):
        rng = random_for(SEED, "fitted", number)
        big = large.paint(rng, large.sprites, SIDE * SCALE)
        small, wanted = to_tensor([np.asarray(big.reduce(SCALE))]), to_tensor([np.asarray(big)])
        patches = F.unfold(small.transpose(0, 1), 3)  # (3, 9, pixels), borders left out
        inner = wanted[..., SCALE:-SCALE, SCALE:-SCALE].transpose(0, 1)
        inputs.append(patches.permute(0, 2, 1).reshape(-1, 9))
        outputs.append(F.unfold(inner, SCALE, stride=SCALE).permute(0, 2, 1).reshape(-1, SCALE**2))
    solved: Tensor = torch.linalg.lstsq(torch.cat(inputs), torch.cat(outputs)).solution
    return solved


def load_upscaler(path: Path) -> Any:
    """The network of the file `path`, in float32."""
    model = new_network()
    model.load_state_dict(load_file(path))
    return model.float().eval()


def _inner(pictures: Tensor) -> Tensor:
    margin = BORDER * SCALE // 2
    return pictures[..., margin:-margin, margin:-margin]


def _difference(made: Tensor, wanted: Tensor) -> Tensor:
    """L1, and the difference of gradients for crisp edges."""
    across = (made.diff(dim=-1) - wanted.diff(dim=-1)).abs().mean()
    down = (made.diff(dim=-2) - wanted.diff(dim=-2)).abs().mean()
    return F.l1_loss(made, wanted) + across + down


def _lesson(large: LargeArt, vae: AutoencoderKL, step: int) -> tuple[Tensor, Tensor]:
    """Small pictures (BATCH, 3, SIDE, SIDE) in 0..1 and the large ones they come from."""
    rng = random_for(SEED, step)
    smalls, wanted = [], []
    for i in range(BATCH):
        decoded = i < DECODED
        side = SIDE * SCALE
        scene = (
            large.paint(rng, large.known, side, 200)
            if decoded
            else large.paint(rng, large.sprites, side)
        )
        small, big = _pair(scene, rng)
        smalls.append(np.asarray(small))
        wanted.append(np.asarray(big))
    inputs = to_tensor(smalls)
    inputs[:DECODED] = inputs[:DECODED].lerp(_through(vae, inputs[:DECODED]), rng.uniform(0.5, 1))
    return (inputs + 1) / 2, (to_tensor(wanted) + 1) / 2


def _pair(big: Image.Image, rng: random.Random) -> tuple[Image.Image, Image.Image]:
    style = rng.random()
    if style < 0.04:  # big square pixels are to stay that
        small = Image.fromarray(pixel_art(np.asarray(big.reduce(SCALE))))
        return small, small.resize(big.size, Image.Resampling.NEAREST)
    if style < 0.1:
        big = Image.fromarray(pencil_sketch(np.asarray(big)))
    small = big.resize((SIDE, SIDE), rng.choice(REDUCERS))
    if rng.random() < 0.2:
        small = small.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.7)))
    if rng.random() < 0.2:
        noise = np.random.default_rng(rng.getrandbits(32)).normal(
            0, rng.uniform(0, 3), (SIDE, SIDE, 3)
        )
        small = Image.fromarray(np.clip(np.asarray(small) + noise, 0, 255).astype(np.uint8))
    return small, big


@torch.no_grad()
def _through(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """`pictures` (N, 3, H, W) in -1..1 as the autoencoder gives them back."""
    made: Tensor = vae.decode(vae.encode(pictures.to(vae.device)).latent_dist.mean).sample
    return ((made.clamp(-1, 1) + 1) * 127.5).round().cpu() / 127.5 - 1


def held_out_scenes(large: LargeArt, count: int) -> list[Image.Image]:
    """Scenes of 512 pixels of sprites that no step trains on."""
    return [
        large.paint(random_for(SEED, "held out", i), large.held_out, SIZE * SCALE)
        for i in range(count)
    ]


def psnr(made: Image.Image, wanted: Image.Image) -> float:
    """Peak signal to noise ratio in dB."""
    difference = np.asarray(made, np.float64) - np.asarray(wanted, np.float64)
    return float(-10 * np.log10(max(np.square(difference / 255).mean(), 1e-10)))


def _psnr(model: nn.Module, scene: Image.Image) -> float:
    return psnr(enlarge(model, scene.reduce(SCALE)), scene)


@torch.no_grad()
def enlarge(model: nn.Module, picture: Image.Image) -> Image.Image:
    """`picture`, SCALE times as large."""
    padded = F.pad((to_tensor([np.asarray(picture)]) + 1) / 2, (BORDER,) * 4, "replicate")
    made = model(padded)[0, :, BORDER * SCALE : -BORDER * SCALE, BORDER * SCALE : -BORDER * SCALE]
    pixels = (made.permute(1, 2, 0) * 255).round().clamp(0, 255)
    return Image.fromarray(pixels.byte().numpy())
