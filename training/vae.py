"""The autoencoder: pictures (N, 3, 128, 128) to latents (N, 4, 16, 16) and back."""

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (the customary name)
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor

from training.art import SIZE, Art, Picture, random_for
from training.captions import sample
from training.loop import Budget, Run, cosine
from training.precision import mixed_precision
from training.styles import STYLES
from training.thumbnail import start_as_thumbnail

CROP = 64
CROPS_UNTIL = 0.7  # of the run trains on crops, four of a picture; the rest on whole pictures
PICTURES = 3  # a step: many small steps bring a higher PSNR than few large ones
STYLED = 0.3  # the share of pictures in the style of a LoRA, which must pass the decoder too
SEED = "vae"


def new_vae() -> AutoencoderKL:
    """An untrained autoencoder of 4.3 M parameters that already makes thumbnails."""
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(16, 48, 96, 160),
        layers_per_block=1,
        norm_num_groups=2,  # more would normalise the colour of plain areas away
        sample_size=SIZE,
        scaling_factor=1.0,
        mid_block_add_attention=False,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )
    start_as_thumbnail(vae)
    return vae


def to_tensor(pictures: list[Picture]) -> Tensor:
    """uint8 pictures (H, W, 3) -> (N, 3, H, W) in -1..1."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_picture(row: Tensor) -> Image.Image:
    """(3, H, W) in -1..1 -> a picture."""
    pixels = ((row.permute(1, 2, 0).float() + 1) * 127.5).round().clamp(0, 255)
    return Image.fromarray(pixels.byte().cpu().numpy())


def training_picture(art: Art, *key: object) -> Picture:
    """A composite, now and then in the style of a LoRA."""
    rng = random_for(SEED, *key)
    picture = art.paint(sample(rng).scene)
    return rng.choice(STYLES).apply(picture) if rng.random() < STYLED else picture


def train_vae(
    art: Art,
    folder: Path,
    budget: Budget,
    device: torch.device,
    decoder_only: bool = False,
    start: Path | None = None,
) -> None:
    """Train in `folder`, from the weights in `start` if given.

    `decoder_only` leaves the latents, and so a trained UNet, valid.
    """
    torch.manual_seed(0)
    vae = new_vae().to(device)
    if decoder_only:
        start = folder / "model"
    if start:
        vae.load_state_dict(AutoencoderKL.from_pretrained(start).state_dict())
    if decoder_only:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    run_folder = folder / "decoder" if decoder_only else folder
    trained = [p for p in vae.parameters() if p.requires_grad]
    run = Run(run_folder, vae, [{"params": trained}], lr=6e-4 if decoder_only else 1e-3)
    held_out = held_out_pictures(art).to(device)

    def loss(step: int, progress: float) -> Tensor:
        whole = decoder_only or progress > CROPS_UNTIL
        batch = _batch(art, step, whole).to(device)
        with mixed_precision(device):
            posterior = vae.encode(batch).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=run.generator).to(device)
            made = vae.decode(posterior.mean + posterior.std * noise).sample
        return _reconstruction(made.float(), batch) + 1e-4 * _kl(posterior.mean, posterior.logvar)

    def snapshot() -> None:
        _report(vae, held_out, run_folder, run.step)

    run.train(loss, budget, schedule=cosine, snapshot=snapshot, snapshot_seconds=300)
    with run.averaged():
        if not decoder_only:
            normalise(vae, art, device)
        vae.save_pretrained(folder / "model")


def _batch(art: Art, step: int, whole: bool) -> Tensor:
    pictures = [training_picture(art, step, i) for i in range(PICTURES)]
    if whole:
        return to_tensor(pictures)
    rng = random_for(SEED, step)
    crops = []
    for picture in pictures:
        for _ in range(4):
            x, y = rng.randrange(SIZE - CROP + 1), rng.randrange(SIZE - CROP + 1)
            crops.append(picture[y : y + CROP, x : x + CROP])
    return to_tensor(crops)


def _reconstruction(made: Tensor, wanted: Tensor) -> Tensor:
    """L1, a little squared error, and the difference of gradients for crisp edges."""
    loss = F.l1_loss(made, wanted) + 0.5 * F.mse_loss(made, wanted)
    across = (made.diff(dim=-1) - wanted.diff(dim=-1)).abs().mean()
    down = (made.diff(dim=-2) - wanted.diff(dim=-2)).abs().mean()
    return loss + 0.5 * (across + down)


def _kl(mean: Tensor, logvar: Tensor) -> Tensor:
    """Divergence from the standard normal, per latent value, in nats."""
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()


def held_out_pictures(art: Art) -> Tensor:
    """Pictures (24, 3, 128, 128) that no step trains on."""
    return to_tensor([training_picture(art, "held out", i) for i in range(24)])


@torch.no_grad()
def psnr(vae: AutoencoderKL, pictures: Tensor) -> tuple[float, Tensor]:
    """Peak signal to noise ratio in dB over `pictures` (N, 3, H, W), and what came back."""
    made = torch.cat([vae.decode(vae.encode(p[None]).latent_dist.mean).sample for p in pictures])
    made = made.clamp(-1, 1)
    return -10 * math.log10(float(((made - pictures) / 2).square().mean())), made


def _report(vae: AutoencoderKL, held_out: Tensor, folder: Path, step: int) -> None:
    decibels, made = psnr(vae, held_out)
    print(f"{folder.name}: step {step}: {decibels:.2f} dB on held-out pictures", flush=True)
    rows = [
        torch.cat(list(part), 2)
        for i in (0, 12)
        for part in (held_out[i : i + 12], made[i : i + 12])
    ]
    to_picture(torch.cat(rows, 1)).save(folder / "reconstructions.png")


@torch.no_grad()
def normalise(vae: AutoencoderKL, art: Art, device: torch.device) -> None:
    """Bake zero mean and unit variance of each latent channel into the two 1x1 convolutions."""
    pictures = [training_picture(art, "normalise", i) for i in range(256)]
    latents = torch.cat(
        [
            vae.encode(to_tensor(pictures[i : i + 8]).to(device)).latent_dist.mean
            for i in range(0, 256, 8)
        ]
    )
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    print(f"latents: mean {mean.tolist()}, std {std.tolist()}", flush=True)
    quant, post = vae.quant_conv, vae.post_quant_conv
    quant.weight[:4] /= std[:, None, None, None]
    quant.bias[:4] = (quant.bias[:4] - mean) / std
    quant.bias[4:] -= 2 * std.log()
    post.bias += post.weight[:, :, 0, 0] @ mean
    post.weight *= std[None, :, None, None]
