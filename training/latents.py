"""Encodes composites to latents, once: the UNet trains on those."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.art import Art, Picture, random_for
from training.captions import Captioned, sample
from training.precision import mixed_precision
from training.vae import to_tensor

CHUNK = 512  # pictures a file
BATCH = 16


@torch.no_grad()
def encode(vae: AutoencoderKL, pictures: list[Picture]) -> Tensor:
    """Pictures -> the mean latents (N, 4, 16, 16) in float32 on the CPU."""
    device = next(vae.parameters()).device
    parts = []
    for i in range(0, len(pictures), BATCH):
        batch = to_tensor(pictures[i : i + BATCH]).to(device)
        with mixed_precision(device):
            parts.append(vae.encode(batch).latent_dist.mean.float().cpu())
    return torch.cat(parts)


def encode_scenes(art: Art, vae: AutoencoderKL, folder: Path, count: int) -> None:
    """Write the latents of scenes 0 to `count` into `folder`; files that exist are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    chunks = -(-count // CHUNK)
    for chunk in range(chunks):
        path = folder / f"{chunk:04}.safetensors"
        if path.is_file():
            continue
        first = chunk * CHUNK
        latents = torch.cat(
            [
                encode(vae, [art.paint(scene(i).scene) for i in range(start, start + 64)])
                for start in range(first, first + CHUNK, 64)
            ]
        )
        beside = path.with_suffix(".tmp")
        save_file({"latents": latents.half().contiguous()}, beside)
        beside.replace(path)
        print(f"latents: {(chunk + 1) * CHUNK} of {chunks * CHUNK}", flush=True)


def scene(index: int) -> Captioned:
    """Scene number `index` of the endless series that the models train on."""
    return sample(random_for("scene", index))


def load_latents(folder: Path) -> tuple[Tensor, list[str]]:
    """All latents in `folder` (N, 4, 16, 16) in half precision, and their captions."""
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise FileNotFoundError(f"no latents in {folder}: run `python -m training latents` first")
    latents = torch.cat([load_file(path)["latents"] for path in paths])
    return latents, [scene(i).caption for i in range(len(latents))]
