"""A ControlNet that draws along given edges."""

from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor, nn

from training.art import Art, Picture, random_for
from training.captions import Captioned, sample_anywhere
from training.latents import encode, scene
from training.loop import Budget, Run, cosine
from training.unet import Captions, Diffusion, load_text, load_vae

PICTURES = 6144
BATCH = 24


def edges(picture: Picture) -> Picture:
    """Canny edges, white on black, as the bot draws them from a user's picture."""
    lines = cv2.Canny(np.ascontiguousarray(picture), 100, 200)
    return np.repeat(lines[..., None], 3, 2).astype(np.uint8)


class Controlled(nn.Module):
    """The frozen UNet with the ControlNet's residuals added."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.unet = unet.requires_grad_(False)
        self.controlnet = ControlNetModel.from_unet(
            unet, conditioning_embedding_out_channels=(16, 32, 64, 96)
        )

    def forward(self, noisy: Tensor, t: Tensor, text: Tensor, lines: Tensor) -> Tensor:
        """Predicts v for latents (N, 4, 16, 16) along `lines` (N, 3, 128, 128) in 0..1."""
        down, mid = self.controlnet(noisy, t, text, controlnet_cond=lines, return_dict=False)
        made: Tensor = self.unet(
            noisy,
            t,
            text,
            down_block_additional_residuals=down,
            mid_block_additional_residual=mid,
        ).sample
        return made


def train_controlnet(
    art: Art,
    folder: Path,
    budget: Budget,
    device: torch.device,
    target: Path,
    pictures: int,
) -> None:
    """Train on the UNet of the run in `folder` and write the ControlNet to `target`."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel.from_pretrained(folder / "unet" / "model")
    model = Controlled(unet).to(device)
    latents, lines, captions = edge_data(art, folder, device, min(pictures, PICTURES))
    text = Captions(*load_text(folder, device), captions)
    run = Run(folder / "controlnet", model, _groups(model.controlnet), lr=5e-4, weight_decay=0.0)
    diffusion = Diffusion(device)

    def loss(step: int, progress: float) -> Tensor:
        chosen = torch.randint(0, len(latents), (BATCH,), generator=run.generator)
        hidden = text.encode(chosen, run.generator)
        given = (lines[chosen].float() / 255)[:, None].expand(-1, 3, -1, -1).to(device)

        def predict(noisy: Tensor, t: Tensor, hidden: Tensor) -> Tensor:
            made: Tensor = model(noisy, t, hidden, given)
            return made

        return diffusion.loss(predict, latents[chosen].to(device), hidden, run.generator)

    run.train(loss, budget, schedule=cosine, warmup=100)
    with run.averaged():
        model.controlnet.to(torch.float16).save_pretrained(target)
    for path in target.glob("*.safetensors"):
        path.chmod(0o644)
    print(f"wrote {target}", flush=True)


def _groups(controlnet: ControlNetModel) -> list[dict[str, object]]:
    """The layers that start at zero, and the reading of the lines, learn faster."""
    new: list[nn.Parameter] = []
    copied: list[nn.Parameter] = []
    for name, parameter in controlnet.named_parameters():
        (new if "controlnet_" in name else copied).append(parameter)
    return [{"params": new, "lr": 1.5e-3}, {"params": copied, "lr": 3e-4}]


def scene_anywhere(index: int) -> Captioned:
    """Scene number `index` of a second endless series: see `sample_anywhere`."""
    return sample_anywhere(random_for("anywhere", index))


def edge_data(
    art: Art, folder: Path, device: torch.device, count: int
) -> tuple[Tensor, Tensor, list[str]]:
    """Latents (N, 4, 16, 16), edges (N, 128, 128) in 0..255, captions.

    Every second scene is one whose caption doesn't say where its things are.
    """
    vae = load_vae(folder, device)
    latents, lines, captions = [], [], []
    for start in range(0, count, 64):
        numbers = range(start, min(start + 64, count))
        scenes = [scene_anywhere(i) if i % 2 else scene(i) for i in numbers]
        pictures = [art.paint(captioned.scene) for captioned in scenes]
        latents.append(encode(vae, pictures))
        lines += [torch.from_numpy(edges(picture)[..., 0].copy()) for picture in pictures]
        captions += [captioned.caption for captioned in scenes]
    return torch.cat(latents), torch.stack(lines), captions
