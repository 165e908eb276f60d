"""The ControlNets of Stable Diffusion 3 and 3.5: blocks that see the control picture too, and
answer with what is to be added behind the transformer's own.

Source: InstantX, huggingface.co/InstantX/SD3-Controlnet-Canny, in diffusers' names; Stability AI,
huggingface.co/stabilityai/stable-diffusion-3.5-controlnets (blur, canny and depth of 3.5 large),
whose blocks read no text and stand where the transformer's tokens do, and whose names of layers are
the original ones here.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import diffusers
import torch
from torch.nn import functional

from generation.runtime.networks.architecture import ControlMake, Layer, counted, renamed
from generation.runtime.networks.control import Control
from generation.runtime.tiling import Tile
from generation.runtime.weights import Weights

HEAD: Final = 64
"""Width of a head where no tensor tells it."""
KIND: Final = "control_type"
"""What Stability AI's say of the picture that they read, a number."""
EDGES: Final = 1
"""Of edges; 0 is blurred, 2 depth."""


def added(
    module: Any, controls: Sequence[Control], told: Mapping[str, Any], tile: Tile
) -> dict[str, list[torch.Tensor]]:
    """What ControlNets, which are `told` what the transformer is, add to it: for each of its blocks
    a tensor (B, tokens, width); nothing where there are none.
    """
    blocks = len(module.transformer_blocks)
    found: list[torch.Tensor] = []
    for control in controls:
        own = _answers(module, control, told, tile)
        # each is for so many blocks in a row
        spread = [own[int(block / (blocks / len(own)))] for block in range(blocks)]
        found = [one + more for one, more in zip(found, spread, strict=True)] if found else spread
    return {"block_controlnet_hidden_states": found} if found else {}


def _answers(
    module: Any, control: Control, told: Mapping[str, Any], tile: Tile
) -> list[torch.Tensor]:
    net, latents, pooled = control.module, told["hidden_states"], told["pooled_projections"]
    unread = net.config.force_zeros_for_pooled_projection
    found: list[torch.Tensor] = net(
        hidden_states=latents if net.pos_embed is not None else tokens(module.pos_embed, latents),
        encoder_hidden_states=None
        if net.context_embedder is None
        else told["encoder_hidden_states"],
        pooled_projections=torch.zeros_like(pooled) if unread else pooled,
        timestep=told["timestep"],
        controlnet_cond=control.part(tile).to(latents).expand(len(latents), -1, -1, -1),
        conditioning_scale=control.scale,
        return_dict=False,
    )[0]
    return found


def tokens(embedder: Any, latents: torch.Tensor) -> torch.Tensor:
    """Latents (B, C, h, w) as a transformer's first layer has them, (B, tokens, width), wherever
    its weights are: it may be at rest.
    """
    weight, bias = embedder.proj.weight.to(latents), embedder.proj.bias.to(latents)
    patches = functional.conv2d(latents, weight, bias, stride=embedder.patch_size)
    places = embedder.cropped_pos_embed(*latents.shape[-2:])
    found: torch.Tensor = patches.flatten(2).transpose(1, 2) + places.to(latents.device)
    return found.to(latents.dtype)


def read(tensors: Weights) -> tuple[dict[str, Any], Weights]:
    """Of a single file, in Stability AI's names or in diffusers'."""
    own = tensors
    if "transformer_blocks.0.attn.qkv.weight" in tensors:
        layers = dict(_layers(counted(tensors, "transformer_blocks.")))
        alike = {n: t for n, t in tensors.items() if n.rpartition(".")[0] not in layers}
        own = alike | renamed(tensors, layers)
    patches, text = own["pos_embed_input.proj.weight"], own.get("context_embedder.weight")
    norm = own.get("transformer_blocks.0.attn.norm_q.weight")
    places = own.get("pos_embed.pos_embed")
    head = HEAD if norm is None else len(norm)
    placed = "pos_embed.proj.weight" in own
    config = {
        "in_channels": patches.shape[1],
        "patch_size": patches.shape[-1],
        "num_layers": counted(own, "transformer_blocks."),
        "attention_head_dim": head,
        "num_attention_heads": len(patches) // head,
        "joint_attention_dim": None if text is None else text.shape[1],
        "caption_projection_dim": len(patches),
        "pooled_projection_dim": own["time_text_embed.text_embedder.linear_1.weight"].shape[1],
        "pos_embed_max_size": None if places is None else math.isqrt(places.shape[1]),
        "pos_embed_type": "sincos" if placed else None,
        "use_pos_embed": placed,
        "dual_attention_layers": sorted(
            {int(name.split(".")[1]) for name in own if ".attn2.to_q." in name}
        ),
        "qk_norm": None if norm is None else "rms_norm",
        # InstantX' for 3, as their config has it
        "force_zeros_for_pooled_projection": text is not None and norm is None,
    }
    return config, own


def _layers(blocks: int) -> Iterator[tuple[str, Layer]]:
    """Stability AI's names of the layers that have others in diffusers, each with those."""
    for number in range(blocks):
        block = f"transformer_blocks.{number}"
        attention = tuple(f"{block}.attn.to_{part}" for part in "qkv")
        yield f"{block}.attn.qkv", Layer(attention, (1, 1, 1))
        yield f"{block}.attn.proj", Layer((f"{block}.attn.to_out.0",))
        yield f"{block}.mlp.fc1", Layer((f"{block}.ff.net.0.proj",))
        yield f"{block}.mlp.fc2", Layer((f"{block}.ff.net.2",))
        yield f"{block}.adaLN_modulation.1", Layer((f"{block}.norm1.linear",))


def fits(net: Any, denoiser: Any) -> bool:
    """Whether it can be added to that transformer."""
    own, theirs = net.config.joint_attention_dim, denoiser.config.joint_attention_dim
    return net.inner_dim == denoiser.inner_dim and own in (None, theirs)


def noted(net: Any, tensors: Weights, name: str) -> None:
    """Whether it is Stability AI's for edges, which its tensors say, or in diffusers' names its own
    name.
    """
    if KIND in tensors:
        net.reads_edges = round(float(tensors[KIND].flatten()[0])) == EDGES
    else:
        net.reads_edges = net.pos_embed is None and "canny" in name.lower()


def latents(net: Any, pixels: torch.Tensor, encode: Callable[[torch.Tensor], Any]) -> torch.Tensor:
    """A control picture as it was trained to see it: Stability AI's for edges in values from 0.5 to
    128 where others have -1 to 1, InstantX' without the shift of their latents.
    """
    found = encode((pixels * 127.5 + 1.5) / 2 if net.reads_edges else pixels)
    scaled: torch.Tensor = found.latents(None, 1)
    if net.config.force_zeros_for_pooled_projection:
        scaled = scaled - found.scaled(torch.zeros_like(found.mean))
    return scaled


CONTROL: Final = ControlMake(
    model=diffusers.SD3ControlNetModel, read=read, fits=fits, noted=noted, latents=latents
)
