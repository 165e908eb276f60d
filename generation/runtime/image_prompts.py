"""Pictures as prompts: what CLIP sees in them, and what an IP-Adapter makes of that.

Source: Ye et al., "IP-Adapter", github.com/tencent-ailab/IP-Adapter; the layers' names as
diffusers translates them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from diffusers.models.embeddings import (
    ImageProjection,
    IPAdapterFullImageProjection,
    IPAdapterPlusImageProjection,
)
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from generation.families.image_prompts import BASE, sees_for
from generation.messages import Generate
from generation.models import ModelFile
from generation.request import ImagePrompt
from generation.runtime.checkpoints import Checkpoint
from generation.runtime.faults import JobError
from generation.runtime.latents import open_picture
from generation.runtime.networks.image_attention import BLOCKS, ShownPicture, cross_layers
from generation.runtime.parts import Parts
from generation.runtime.weights import Weights

MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
DEVIATION: Final = (0.26862954, 0.26130258, 0.27577711)
HEADS: Final[Mapping[int, int]] = {768: 12, 1024: 16, 1280: 16, 1664: 16}
"""Of attention, by the width of an encoder."""
OPENAI: Final = 1024
"""The width of the encoder that OpenAI trained, with an activation of its own."""
HEAD: Final = 64
BASE_TOKENS: Final = 4


class ImageAdapter(nn.Module):
    """An IP-Adapter: how it projects what CLIP sees, and keys and values of each layer."""

    def __init__(self, projection: nn.Module, weights: Weights) -> None:
        super().__init__()
        self.projection = projection
        numbers = sorted({int(name.split(".")[0]) for name in weights})
        self.keys, self.values = (
            nn.ModuleList(_linear(weights[f"{number}.to_{part}_ip.weight"]) for number in numbers)
            for part in "kv"
        )

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype


def _linear(weight: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    return layer


def load_adapter(file: ModelFile, dtype: torch.dtype) -> Any:
    """The network of an IP-Adapter's file."""
    tensors = load_file(file.path)
    own = _below("image_proj.", tensors)
    layers = _below("ip_adapter.", tensors)
    adapter = ImageAdapter(_projection(own), layers)
    return adapter.to(dtype).eval().requires_grad_(False)


def _below(prefix: str, tensors: Weights) -> Weights:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _projection(own: Weights) -> nn.Module:
    if "proj.weight" in own:
        rows, reads = own["proj.weight"].shape
        projection: nn.Module = ImageProjection(reads, rows // BASE_TOKENS, BASE_TOKENS)
        renamed = {name.replace("proj", "image_embeds"): tensor for name, tensor in own.items()}
    elif "proj.3.weight" in own:
        reads, width = own["proj.0.weight"].shape[0], own["proj.3.weight"].shape[0]
        projection = IPAdapterFullImageProjection(reads, width)
        places = {"proj.0": "ff.net.0.proj", "proj.2": "ff.net.2", "proj.3": "norm"}
        renamed = {}
        for name, tensor in own.items():
            layer, _, end = name.rpartition(".")
            renamed[f"{places[layer]}.{end}"] = tensor
    else:
        depth = len({name.split(".")[1] for name in own if name.startswith("layers.")})
        hidden = own["latents"].shape[2]
        projection = IPAdapterPlusImageProjection(
            embed_dims=own["proj_in.weight"].shape[1],
            output_dims=own["proj_out.weight"].shape[0],
            hidden_dims=hidden,
            depth=depth,
            heads=own["layers.0.0.to_q.weight"].shape[0] // HEAD,
            num_queries=own["latents"].shape[1],
            ffn_ratio=own["layers.0.1.1.weight"].shape[0] / hidden,
        )
        renamed = dict(_resampler(own))
    projection.load_state_dict(renamed)
    return projection


def _resampler(own: Weights) -> Any:
    """The tensors of a plus adapter under diffusers' names."""
    inner = {
        "0.norm1": "ln0",
        "0.norm2": "ln1",
        "0.to_q": "attn.to_q",
        "0.to_out": "attn.to_out.0",
        "1.0": "ff.0",
        "1.1": "ff.1.net.0.proj",
        "1.3": "ff.1.net.2",
    }
    for name, tensor in own.items():
        if not name.startswith("layers."):
            yield name, tensor
            continue
        _, number, rest = name.split(".", 2)
        layer, _, end = rest.rpartition(".")
        if layer == "0.to_kv":
            for part, piece in zip("kv", tensor.chunk(2), strict=True):
                yield f"layers.{number}.attn.to_{part}.{end}", piece
        else:
            yield f"layers.{number}.{inner[layer]}.{end}", tensor


def load_eyes(file: ModelFile, dtype: torch.dtype) -> Any:
    """CLIP's image encoder."""
    tensors = load_file(file.path)
    width = len(tensors["vision_model.embeddings.class_embedding"])
    patch = tensors["vision_model.embeddings.patch_embedding.weight"].shape[-1]
    places = len(tensors["vision_model.embeddings.position_embedding.weight"]) - 1
    begins = "vision_model.encoder.layers."
    config = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=len(tensors[f"{begins}0.mlp.fc1.weight"]),
        num_hidden_layers=len({n.split(".")[3] for n in tensors if n.startswith(begins)}),
        num_attention_heads=HEADS.get(width, max(1, width // HEAD)),
        projection_dim=len(tensors["visual_projection.weight"]),
        image_size=round(places**0.5) * patch,
        patch_size=patch,
        hidden_act="quick_gelu" if width == OPENAI else "gelu",
    )
    eyes, about = CLIPVisionModelWithProjection.from_pretrained(
        None, config=config, state_dict=tensors, output_loading_info=True
    )
    missing = sorted(name for name in about["missing_keys"] if "position_ids" not in name)
    if missing:
        raise ValueError(f"{missing[0]} is not in it")
    return eyes.to(dtype).eval().requires_grad_(False)


def pixels_for(picture: Image.Image, side: int) -> torch.Tensor:
    """A picture as CLIP takes it, (1, 3, side, side): the middle of its longer side."""
    shorter = min(picture.size)
    size = [side if one == shorter else int(side * one / shorter) for one in picture.size]
    sized = picture.resize((size[0], size[1]), Image.Resampling.BICUBIC)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    values = np.asarray(sized.crop((left, top, left + side, top + side)), np.float32) / 255
    values = (values - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32)
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))[None]


def shown_pictures(work: Generate, model: Checkpoint, parts: Parts) -> tuple[ShownPicture, ...]:
    """What a checkpoint of the job attends to beside its prompts. Raises JobError."""
    found = []
    for prompt, file in zip(work.request.image_prompts, work.adapters, strict=True):
        if file.fits(model.file):
            found.append(_shown(prompt, file, work, model, parts))
    return tuple(found)


def _shown(
    prompt: ImagePrompt, file: ModelFile, work: Generate, model: Checkpoint, parts: Parts
) -> ShownPicture:
    eyes = next((one for one in work.eyes if sees_for(one, file)), None)
    if eyes is None:
        raise JobError("eyes_missing", name=file.name)
    adapter = parts.image_prompt(file, load_adapter)
    names = cross_layers(model.denoiser)
    if len(names) != len(adapter.keys):
        raise JobError("ipadapter_mismatch", name=file.name, model=model.file.name)
    seen = _seen(prompt, file, eyes, work, parts)
    with torch.no_grad(), parts.residency.at_work(adapter):
        tokens = torch.cat([_tokens(adapter, one) for one in seen])
        block = BLOCKS.get(prompt.kind, "")
        layers = {
            name: (adapter.keys[place](tokens), adapter.values[place](tokens))
            for place, name in enumerate(names)
            if name.startswith(block)
        }
    return ShownPicture(layers, prompt.weight, prompt.start, prompt.end)


def _tokens(adapter: Any, seen: torch.Tensor) -> torch.Tensor:
    """(1, tokens, width) of what was seen of some pictures, one behind the other."""
    made: torch.Tensor = adapter.projection(seen.to(adapter.dtype))
    return made.reshape(1, -1, made.shape[-1])


def _seen(
    prompt: ImagePrompt, file: ModelFile, eyes_file: ModelFile, work: Generate, parts: Parts
) -> Sequence[torch.Tensor]:
    """What CLIP sees in the pictures, (N, width) or (N, parts, width), and as much of nothing."""
    eyes = parts.image_prompt(eyes_file, load_eyes)
    side = eyes.config.image_size
    pictures = [open_picture(work.pictures[one]) for one in prompt.pictures]
    pixels = torch.cat([pixels_for(picture, side) for picture in pictures]).to(parts.device)
    pixels = pixels.to(eyes.dtype)
    with torch.no_grad(), parts.residency.at_work(eyes):
        if file.variant == BASE:
            seen = eyes(pixels).image_embeds
            nothing = torch.zeros_like(seen)
        else:
            seen = eyes(pixels, output_hidden_states=True).hidden_states[-2]
            nothing = eyes(torch.zeros_like(pixels), output_hidden_states=True).hidden_states[-2]
    if prompt.join == "average":
        shares = seen.new_tensor(prompt.shares or [1.0] * len(seen))
        shares = (shares / shares.sum()).view(-1, *[1] * (seen.ndim - 1))
        seen, nothing = (seen * shares).sum(0, keepdim=True), nothing[:1]
    return seen, nothing
