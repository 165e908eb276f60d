"""Pictures as prompts: what an encoder sees in them, and what an IP-Adapter makes of that.

Source: Ye et al., "IP-Adapter", github.com/tencent-ailab/IP-Adapter; the layers' names as
diffusers translates them. Of Flux.1 as `networks/flux_image_attention.py` says.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from diffusers.models.embeddings import (
    ImageProjection,
    IPAdapterFaceIDImageProjection,
    IPAdapterFullImageProjection,
    IPAdapterPlusImageProjection,
)
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from generation.families.image_prompts import BASE, INSTANTX, sees_for
from generation.messages import Generate
from generation.models import ModelFile
from generation.request_parts import ImagePrompt
from generation.runtime.checkpoints import Checkpoint
from generation.runtime.faults import JobError
from generation.runtime.image_encoders import load_eyes, parts_seen, pixels_for, whole_seen
from generation.runtime.latents import open_picture
from generation.runtime.networks.flux_image_attention import block_layers
from generation.runtime.networks.image_attention import BLOCKS, ShownPicture, cross_layers
from generation.runtime.parts import Parts
from generation.runtime.weights import Weights

HEAD: Final = 64
FLUX: Final = "flux"
EPSILON: Final = 1e-5
"""Of the norm that InstantX' keys go through."""
WIDENED: Final = 2
"""How many times as wide as what it reads their projection is within."""


class ImageAdapter(nn.Module):
    """An IP-Adapter: how it projects what CLIP sees, and keys and values of each layer."""

    def __init__(self, projection: nn.Module, weights: Weights) -> None:
        super().__init__()
        self.projection = projection
        numbers = sorted({int(name.split(".")[0]) for name in weights})
        self.keys, self.values = (
            nn.ModuleList(_linear(weights, f"{number}.to_{part}_ip") for number in numbers)
            for part in "kv"
        )

    @property
    def dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype


def _linear(weights: Weights, name: str) -> nn.Linear:
    weight, bias = weights[f"{name}.weight"], weights.get(f"{name}.bias")
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias, requires_grad=False)
    return layer


def load_adapter(file: ModelFile, dtype: torch.dtype) -> Any:
    """The network of an IP-Adapter's file."""
    tensors = load_file(file.path)
    own, layers = _below("image_proj.", tensors), _below("ip_adapter.", tensors)
    if not layers:
        own, layers = _below("ip_adapter_proj_model.", tensors), _of_xlabs(tensors)
    projection = _flat(own) if file.variant == INSTANTX else _projection(own)
    adapter = ImageAdapter(projection, layers)
    return adapter.to(dtype).eval().requires_grad_(False)


def _below(prefix: str, tensors: Weights) -> Weights:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _of_xlabs(tensors: Weights) -> Weights:
    """Keys and values of each double block, under the names of other IP-Adapters."""
    found: Weights = {}
    for name, tensor in _below("double_blocks.", tensors).items():
        number, _, rest = name.partition(".processor.ip_adapter_double_stream_")
        part, _, end = rest.partition("_proj.")
        found[f"{number}.to_{part}_ip.{end}"] = tensor
    return found


def _flat(own: Weights) -> nn.Module:
    """InstantX' projection."""
    rows, reads = len(own["proj.2.weight"]), own["proj.0.weight"].shape[1]
    width = len(own["norm.weight"])
    projection: nn.Module = IPAdapterFaceIDImageProjection(reads, width, WIDENED, rows // width)
    places = {"proj.0": "ff.net.0.proj", "proj.2": "ff.net.2", "norm": "norm"}
    projection.load_state_dict(_placed(own, places))
    return projection


def _placed(own: Weights, places: Mapping[str, str]) -> Weights:
    parted = ((*name.rpartition("."), tensor) for name, tensor in own.items())
    return {f"{places[layer]}.{end}": tensor for layer, _, end, tensor in parted}


def _projection(own: Weights) -> nn.Module:
    if "proj.weight" in own:
        (rows, reads), width = own["proj.weight"].shape, len(own["norm.weight"])
        projection: nn.Module = ImageProjection(reads, width, rows // width)
        renamed = {name.replace("proj", "image_embeds"): tensor for name, tensor in own.items()}
    elif "proj.3.weight" in own:
        reads, width = own["proj.0.weight"].shape[0], own["proj.3.weight"].shape[0]
        projection = IPAdapterFullImageProjection(reads, width)
        places = {"proj.0": "ff.net.0.proj", "proj.2": "ff.net.2", "proj.3": "norm"}
        renamed = _placed(own, places)
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
    within = file.variant == INSTANTX
    flux = file.family == FLUX
    denoiser = model.denoiser
    names = block_layers(denoiser, single=within) if flux else cross_layers(denoiser)
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
        if within:
            size = denoiser.config.attention_head_dim
            layers = {n: (_normed(keys, size), values) for n, (keys, values) in layers.items()}
    return ShownPicture(layers, prompt.weight, prompt.start, prompt.end, flux and not within)


def _normed(keys: torch.Tensor, size: int) -> torch.Tensor:
    """Each head's (B, T, heads * size) brought to the same strength."""
    heads = keys.reshape(*keys.shape[:2], -1, size)
    return functional.rms_norm(heads, (size,), eps=EPSILON).flatten(2)


def _tokens(adapter: Any, seen: torch.Tensor) -> torch.Tensor:
    """(1, tokens, width) of what was seen of some pictures, one behind the other."""
    made: torch.Tensor = adapter.projection(seen.to(adapter.dtype))
    return made.reshape(1, -1, made.shape[-1])


def _seen(
    prompt: ImagePrompt, file: ModelFile, eyes_file: ModelFile, work: Generate, parts: Parts
) -> Sequence[torch.Tensor]:
    """What is seen in the pictures, (N, width) or (N, parts, width), and as much of nothing."""
    eyes = parts.image_prompt(eyes_file, load_eyes)
    pictures = [open_picture(work.pictures[one]) for one in prompt.pictures]
    shown = [pixels_for(picture, eyes) for picture in pictures]
    if file.family == FLUX:
        # nothing is there a black picture, as diffusers' FluxPipeline has it
        shown.append(pixels_for(Image.new("RGB", (eyes.config.image_size,) * 2), eyes))
    pixels = torch.cat(shown).to(parts.device, eyes.dtype)
    with torch.no_grad(), parts.residency.at_work(eyes):
        if file.variant not in (BASE, INSTANTX):
            seen, nothing = parts_seen(eyes, pixels), parts_seen(eyes, torch.zeros_like(pixels))
        else:
            seen = whole_seen(eyes, pixels)
            nothing = torch.zeros_like(seen)
    if file.family == FLUX:
        nothing = seen[-1:].expand(len(pictures), -1)
        seen = seen[:-1]
    if prompt.join == "average":
        shares = seen.new_tensor(prompt.shares or [1.0] * len(seen))
        shares = (shares / shares.sum()).view(-1, *[1] * (seen.ndim - 1))
        seen, nothing = (seen * shares).sum(0, keepdim=True), nothing[:1]
    return seen, nothing
