"""A1111's way of drawing as a recipe of its own, beside the engine: what `exactness` compares with.

Networks are diffusers', the samplers those of the k-diffusion package, which is taken from a folder
that is named. What A1111 has of its own (prompts in chunks, guidance, timesteps, LCM's denoiser,
restarts, image to image) is written here after its published description, and shares no line with
the engine. Each picture is drawn by itself.
"""

import importlib
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from benchmarks.exactness_samplers import Drawing

Spoken = list[tuple[str, float]]
"""A text as it is to be read: pieces with their weights; ("BREAK", -1) begins a chunk."""


class Told(NamedTuple):
    """What is to be drawn, in A1111's terms; prompts are given as they are to be read."""

    parts: list[tuple[float, list[tuple[int, Spoken]]]]
    """Of AND: weight, and until which call of the denoiser each text holds."""
    negative: list[tuple[int, Spoken]]
    sampler: str
    schedule: str
    steps: int
    guidance: float
    seed: int
    width: int
    height: int
    clip_skip: int = 1
    picture: Image.Image | None = None
    strength: float = 0.0
    lora: tuple[Path, float] | None = None
    control: tuple[Path, Image.Image, float] | None = None


class Conditioning(NamedTuple):
    cross: torch.Tensor
    pooled: torch.Tensor | None


def k_diffusion(folder: Path) -> Any:
    """Its samplers, without what it imports for training."""
    package = types.ModuleType("k_diffusion")
    package.__path__ = [str(folder / "k_diffusion")]
    sys.modules["k_diffusion"] = package
    for name in ("torchvision", "torchvision.transforms", "torchdiffeq"):
        if name not in sys.modules:
            sys.modules[name] = types.ModuleType(name)
    transforms: Any = sys.modules["torchvision.transforms"]
    transforms.functional = types.ModuleType("functional")
    odes: Any = sys.modules["torchdiffeq"]
    odes.odeint = None
    return importlib.import_module("k_diffusion.external"), importlib.import_module(
        "k_diffusion.sampling"
    )


class Webui:
    """A checkpoint, a diffusers folder, drawn with as A1111 draws."""

    def __init__(
        self, folder: Path, k_diffusion_folder: Path | None, unipc_file: Path | None = None
    ) -> None:
        """Without k-diffusion it has LCM and what runs over timesteps."""
        self.external: Any = None
        self.sampling: Any = None
        if k_diffusion_folder is not None:
            self.external, self.sampling = k_diffusion(k_diffusion_folder)
        self.unipc_file = unipc_file
        self.folder = folder
        self.unet: Any = UNet2DConditionModel.from_pretrained(
            folder / "unet", torch_dtype=torch.float32
        ).eval()
        self.vae: Any = AutoencoderKL.from_pretrained(
            folder / "vae", torch_dtype=torch.float32
        ).eval()
        self.large = (folder / "text_encoder_2").is_dir()
        self.tokenizer: Any = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self.clip: Any = CLIPTextModel.from_pretrained(
            folder / "text_encoder", torch_dtype=torch.float32
        ).eval()
        self.clip_2: Any = None
        if self.large:
            self.clip_2 = CLIPTextModelWithProjection.from_pretrained(
                folder / "text_encoder_2", torch_dtype=torch.float32
            ).eval()
        betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=np.float64) ** 2
        self.alphas_cumprod = torch.from_numpy(np.cumprod(1 - betas)).float()

    @torch.no_grad()
    def draw(self, told: Told) -> np.ndarray[Any, Any]:
        """The picture, (H, W, 3) of bytes."""
        kept = self._merge(told.lora)
        try:
            latents = Drawing(self, told).latents()
            pixels = self.vae.decode(latents / self.vae.config.scaling_factor).sample[0]
        finally:
            for weight, before in kept:
                weight.data.copy_(before)
        shown = 255.0 * torch.clamp((pixels + 1.0) / 2.0, 0.0, 1.0).permute(1, 2, 0).numpy()
        # where A1111 rounds down, the project rounds to the nearest; not what is measured here
        found: np.ndarray[Any, Any] = shown.round().astype(np.uint8)
        return found

    def _merge(self, lora: tuple[Path, float] | None) -> list[tuple[Any, torch.Tensor]]:
        if lora is None:
            return []
        tensors, kept = load_file(lora[0]), []
        prefixes = [("lora_unet", self.unet)]
        prefixes += (
            [("lora_te1", self.clip), ("lora_te2", self.clip_2)]
            if self.large
            else [("lora_te", self.clip)]
        )
        used = 0
        for prefix, module in prefixes:
            for name, layer in module.named_modules():
                begins = (
                    "" if name.startswith("text_model") or module is self.unet else "text_model."
                )
                key = f"{prefix}_{(begins + name).replace('.', '_')}"
                if f"{key}.lora_down.weight" not in tensors:
                    continue
                down, up = tensors[f"{key}.lora_down.weight"], tensors[f"{key}.lora_up.weight"]
                scale = lora[1] * float(tensors[f"{key}.alpha"]) / down.shape[0]
                kept.append((layer.weight, layer.weight.detach().clone()))
                layer.weight.data += scale * (up.float() @ down.float())
                used += 3
        assert used == len(tensors), "not all of the LoRA has a place"
        return kept

    # prompts

    def chunks(self, text: Spoken) -> list[tuple[list[int], list[float]]]:
        comma = self.tokenizer.get_vocab()[",</w>"]
        done: list[tuple[list[int], list[float]]] = []
        ids: list[int] = []
        weights: list[float] = []
        last_comma = -1

        def close() -> None:
            nonlocal ids, weights, last_comma
            done.append((ids, weights))
            ids, weights, last_comma = [], [], -1

        for piece, weight in text:
            if piece == "BREAK" and weight == -1:
                close()
                continue
            for token in self.tokenizer(piece, truncation=False, add_special_tokens=False)[
                "input_ids"
            ]:
                if token == comma:
                    last_comma = len(ids)
                elif len(ids) == 75 and last_comma != -1 and len(ids) - last_comma <= 20:
                    cut = last_comma + 1
                    moved, moved_weights = ids[cut:], weights[cut:]
                    ids, weights = ids[:cut], weights[:cut]
                    close()
                    ids, weights = moved, moved_weights
                if len(ids) == 75:
                    close()
                ids.append(token)
                weights.append(weight)
        if ids or not done:
            close()
        return done

    def encoded(
        self, texts: Sequence[Spoken], clip_skip: int, negative: bool
    ) -> list[Conditioning]:
        """All texts of one schedule together, as A1111 does it: their number of chunks is made
        equal, and emphasis restores the mean over all of them.
        """
        chunked = [self.chunks(text) for text in texts]
        most = max(map(len, chunked))
        for one in chunked:
            one += [([], [])] * (most - len(one))
        columns: list[torch.Tensor] = []
        pooled: torch.Tensor | None = None
        for place in range(most):
            rows = [one[place] for one in chunked]
            states = []
            if not self.large:
                ids = torch.tensor([self._row(ids, 49407) for ids, _ in rows])
                found = self.clip(ids, output_hidden_states=True)
                if clip_skip > 1:
                    inner = getattr(self.clip, "text_model", self.clip)
                    states.append(inner.final_layer_norm(found.hidden_states[-clip_skip]))
                else:
                    states.append(found.last_hidden_state)
            else:
                ids = torch.tensor([self._row(ids, 49407) for ids, _ in rows])
                states.append(self.clip(ids, output_hidden_states=True).hidden_states[-2])
                ids = torch.tensor([self._row(ids, 0) for ids, _ in rows])
                found = self.clip_2(ids, output_hidden_states=True)
                states.append(found.hidden_states[-2])
                if place == 0:
                    pooled = found.text_embeds
            weights = torch.tensor([[1.0, *w, *[1.0] * (76 - len(w))] for _, w in rows])
            emphasized = []
            for state in states:
                before = state.mean()
                state = state * weights.unsqueeze(-1)
                emphasized.append(state * (before / state.mean()))
            columns.append(torch.cat(emphasized, dim=-1))
        cross = torch.hstack(columns)
        if self.large and negative and all(not text for text in texts):
            cross = torch.zeros_like(cross)
            pooled = None if pooled is None else torch.zeros_like(pooled)
        return [
            Conditioning(cross[i : i + 1], None if pooled is None else pooled[i : i + 1])
            for i in range(len(texts))
        ]

    @staticmethod
    def _row(ids: list[int], pad: int) -> list[int]:
        return [49406, *ids, 49407, *[pad] * (75 - len(ids))]
