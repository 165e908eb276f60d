"""The UNet: learns to take the noise out of latents, led by the encoded caption."""

from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from training import checkpoint
from training.art import random_for
from training.captions import noise_words
from training.latents import load_latents
from training.loop import Budget, Run, constant, cooldown
from training.precision import mixed_precision
from training.text import WIDTH, tokenize

UNLED = 0.13  # of the captions are replaced by nothing, or by words that name nothing
STEPS = 1000  # of the noise schedule

Predict = Callable[[Tensor, Tensor, Tensor], Tensor]  # noisy latents, timesteps, text -> v


def new_unet() -> UNet2DConditionModel:
    """An untrained UNet of 13.9 M parameters over latents (N, 4, 16, 16)."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(128, 192, 160),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
    )


def new_scheduler() -> DPMSolverMultistepScheduler:
    """The default sampler, DPM++ 2M, over the noise schedule that the UNet learns.

    It ends at a signal of 0.015: nearly pure noise, so that plain backgrounds come out right.
    """
    return DPMSolverMultistepScheduler(
        num_train_timesteps=STEPS,
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.02,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        steps_offset=1,
    )


class Diffusion:
    """The training objective: v-prediction with min-SNR weights.

    The weights are min(SNR, 5) / (SNR + 1) (Hang et al. 2023) plus 0.15, because layout and
    background are decided at the noisy end, which min-SNR alone neglects.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        products = new_scheduler().alphas_cumprod
        self.signal = products.sqrt().to(device)
        self.noise = (1 - products).sqrt().to(device)
        snr = (products / (1 - products)).to(device)
        self.weights = snr.clamp(max=5.0) / (snr + 1) + 0.15

    def loss(
        self, predict: Predict, latents: Tensor, text: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Weighted squared error of the predicted v over latents (N, 4, 16, 16)."""
        n = len(latents)
        # one timestep from each n-th of the schedule: less variance than independent draws
        spread = (torch.arange(n) + torch.rand(n, generator=generator)) / n
        t = (spread * STEPS).long().clamp(max=STEPS - 1).to(self.device)
        noise = torch.randn(latents.shape, generator=generator).to(self.device)
        signal, sigma = self.signal[t, None, None, None], self.noise[t, None, None, None]
        wanted = signal * noise - sigma * latents
        with mixed_precision(self.device):
            made = predict(signal * latents + sigma * noise, t, text)
        error = (made.float() - wanted).square().mean((1, 2, 3))
        mean: Tensor = (error * self.weights[t]).mean()
        return mean


class Captions:
    """Token ids of the training captions, some of them replaced by nothing."""

    def __init__(
        self, tokenizer: CLIPTokenizer, encoder: CLIPTextModel, captions: list[str]
    ) -> None:
        self.encoder = encoder.eval().requires_grad_(False)
        self.device = next(encoder.parameters()).device
        parts = [tokenize(tokenizer, captions[i : i + 4096]) for i in range(0, len(captions), 4096)]
        self.ids = torch.cat(parts).short()
        rng = random_for("unled")
        unled = [""] * 192 + [noise_words(rng) for _ in range(64)]
        self.unled = tokenize(tokenizer, unled).short()

    @torch.no_grad()
    def encode(self, chosen: Tensor, generator: torch.Generator) -> Tensor:
        """Captions number `chosen` (N,) -> text conditioning (N, 77, 192)."""
        ids = self.ids[chosen].clone()
        drop = torch.rand(len(ids), generator=generator) < UNLED
        other = torch.randint(0, len(self.unled), (len(ids),), generator=generator)
        ids[drop] = self.unled[other[drop]]
        with mixed_precision(self.device):
            hidden: Tensor = self.encoder(ids.to(self.device).int()).last_hidden_state
        text: Tensor = hidden.float()
        return text


def load_text(folder: Path, device: torch.device) -> tuple[CLIPTokenizer, CLIPTextModel]:
    """The tokenizer and the taught text encoder of a run."""
    encoder = CLIPTextModel.from_pretrained(folder / "text" / "text_encoder", dtype=torch.float32)
    return CLIPTokenizer.from_pretrained(folder / "text" / "tokenizer"), encoder.to(device)


def load_vae(folder: Path, device: torch.device) -> AutoencoderKL:
    """The trained autoencoder of a run."""
    vae = AutoencoderKL.from_pretrained(folder / "vae" / "model")
    return vae.eval().requires_grad_(False).to(device)


Show = Callable[[UNet2DConditionModel, Path], None]


def train_unet(
    folder: Path,
    budget: Budget,
    device: torch.device,
    batch: int,
    show: Show,
    cool: bool = False,
    start: Path | None = None,
) -> None:
    """Train the UNet of the run in `folder` at a constant rate, so that it can go on any time.

    `show` draws samples with the averaged weights into a file, every ten minutes.
    With `cool` a copy is trained with a rate that falls to nothing over `budget` instead: the
    weights to ship. The run that it branched from stays as it was. A new run begins with the
    UNet in `start`, if given.
    """
    torch.manual_seed(0)
    latents, captions = load_latents(folder / "latents")
    text = Captions(*load_text(folder, device), captions)
    unet = new_unet().to(device)
    if start:
        unet.load_state_dict(UNet2DConditionModel.from_pretrained(start).state_dict())
    run_folder = folder / "unet"
    if cool:
        run_folder = branch(run_folder)
    groups: list[dict[str, object]] = [{"params": list(unet.parameters())}]
    run = Run(run_folder, unet, groups, lr=7e-4, ema_decay=0.999, weight_decay=0.01)
    diffusion = Diffusion(device)

    def predict(noisy: Tensor, t: Tensor, hidden: Tensor) -> Tensor:
        made: Tensor = unet(noisy, t, hidden).sample
        return made

    def loss(step: int, progress: float) -> Tensor:
        chosen = torch.randint(0, len(latents), (batch,), generator=run.generator)
        hidden = text.encode(chosen, run.generator)
        return diffusion.loss(predict, latents[chosen].float().to(device), hidden, run.generator)

    def snapshot() -> None:
        unet.save_pretrained(folder / "unet" / "model")
        show(unet, run_folder / f"samples-{run.step:06}.png")

    schedule = cooldown if cool else constant
    run.train(loss, budget, schedule=schedule, warmup=1 if cool else 300, snapshot=snapshot)


def branch(folder: Path) -> Path:
    """Copy the checkpoint in `folder` to one that starts again at step 0; return its folder."""
    state = checkpoint.load(folder / "checkpoint.pt", torch.device("cpu"))
    target = folder / f"cooldown-{state['step']}"
    if not (target / "checkpoint.pt").is_file():
        fresh = {"step": 0, "seconds": 0.0, "ema": state["weights"]}
        checkpoint.save(state | fresh, target / "checkpoint.pt")
    return target
