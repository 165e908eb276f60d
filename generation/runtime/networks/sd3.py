"""The transformers of Stable Diffusion 3 and 3.5, medium and large.

Source: Stability AI, github.com/Stability-AI/sd3.5 (`mmditx.py`), whose names of layers are the
original ones here.
"""

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, Final

import diffusers
import torch

from generation.runtime.networks.architecture import Architecture, Layer, counted, renamed
from generation.runtime.networks.control import Control
from generation.runtime.networks.sd3_control import CONTROL, added
from generation.runtime.tiling import Tile
from generation.runtime.weights import Weights

LATENTS: Final = 16
HEAD: Final = 64
"""Width of a head where no tensor tells it."""
PLACES: Final = "pos_embed"
"""A tensor of that name alone: where each token stands."""


class SD3:
    """Calls an SD3Transformer2DModel."""

    def __init__(self, module: Any, controls: Sequence[Control] = ()) -> None:
        self.unwanted: tuple[bool, ...] = ()
        self.done = 0.0
        self._module = module
        self._controls = controls

    def predict(
        self,
        latents: torch.Tensor,
        timestep: torch.Tensor,
        cross: torch.Tensor,
        pooled: torch.Tensor | None,
        sizes: torch.Tensor | None,
        beside: torch.Tensor | None,
        tile: Tile,
        references: tuple[torch.Tensor, ...] = (),
    ) -> torch.Tensor:
        """As Network's; height and width of the latents are even."""
        dtype = self._module.dtype
        assert pooled is not None
        told = {
            "hidden_states": latents.to(dtype),
            "encoder_hidden_states": cross.to(dtype),
            "pooled_projections": pooled.to(dtype),
            "timestep": timestep.expand(len(latents)),
        }
        acting = [control for control in self._controls if control.acts(self.done)]
        more = added(self._module, acting, told, tile)
        answer: torch.Tensor = self._module(**told, **more, return_dict=False)[0]
        return answer


def read(tensors: Weights, _config: dict[str, Any]) -> tuple[dict[str, Any], Weights]:
    """Of a single file, in the original names or in diffusers': all figures are in its shapes."""
    own = tensors
    if "x_embedder.proj.weight" in tensors:
        blocks = counted(tensors, "joint_blocks.")
        own = renamed(tensors, dict(_layers(blocks, _with_two(tensors, "x_block.attn2.qkv"))))
        if PLACES in tensors:
            own["pos_embed.pos_embed"] = tensors[PLACES]
    hidden = len(own["pos_embed.proj.weight"])
    norm = own.get("transformer_blocks.0.attn.norm_q.weight")
    head = HEAD if norm is None else len(norm)
    config = {
        "in_channels": own["pos_embed.proj.weight"].shape[1],
        "out_channels": len(own["proj_out.weight"]) // own["pos_embed.proj.weight"][0, 0].numel(),
        "patch_size": own["pos_embed.proj.weight"].shape[-1],
        "num_layers": counted(own, "transformer_blocks."),
        "attention_head_dim": head,
        "num_attention_heads": hidden // head,
        "joint_attention_dim": own["context_embedder.weight"].shape[1],
        "caption_projection_dim": len(own["context_embedder.weight"]),
        "pooled_projection_dim": own["time_text_embed.text_embedder.linear_1.weight"].shape[1],
        "pos_embed_max_size": math.isqrt(own["pos_embed.pos_embed"].shape[1]),
        "dual_attention_layers": sorted(_with_two(own, "attn2.to_q")),
        "qk_norm": None if norm is None else "rms_norm",
    }
    return config, own


def _with_two(tensors: Weights, layer: str) -> set[int]:
    """The blocks that attend twice, by a layer that only those have."""
    return {int(name.split(".")[1]) for name in tensors if f".{layer}." in name}


def _layers(blocks: int, with_two: Set[int]) -> Iterator[tuple[str, Layer]]:
    """The original names of the layers, each with diffusers'. The last block reads the text, and
    changes it no more.
    """
    yield "x_embedder.proj", Layer(("pos_embed.proj",))
    yield "context_embedder", Layer(("context_embedder",))
    yield "final_layer.linear", Layer(("proj_out",))
    yield "final_layer.adaLN_modulation.1", Layer(("norm_out.linear",), turned=True)
    for ours, theirs in (("t", "timestep"), ("y", "text")):
        for number in (1, 2):
            module = f"time_text_embed.{theirs}_embedder.linear_{number}"
            yield f"{ours}_embedder.mlp.{2 * (number - 1)}", Layer((module,))
    for number in range(blocks):
        theirs, last = f"transformer_blocks.{number}", number == blocks - 1
        for side, kind, more in (("x", "to_{}", ""), ("context", "add_{}_proj", "_context")):
            ours = f"joint_blocks.{number}.{side}_block"
            attention = tuple(f"{theirs}.attn.{kind.format(part)}" for part in "qkv")
            norm = "norm" if side == "x" else "norm_added"
            out = "to_out.0" if side == "x" else "to_add_out"
            yield f"{ours}.attn.qkv", Layer(attention, (1, 1, 1))
            yield f"{ours}.attn.ln_q", Layer((f"{theirs}.attn.{norm}_q",))
            yield f"{ours}.attn.ln_k", Layer((f"{theirs}.attn.{norm}_k",))
            modulation = f"{theirs}.norm1{more}.linear"
            turned = last and side == "context"
            yield f"{ours}.adaLN_modulation.1", Layer((modulation,), turned=turned)
            if not turned:
                yield f"{ours}.attn.proj", Layer((f"{theirs}.attn.{out}",))
                yield f"{ours}.mlp.fc1", Layer((f"{theirs}.ff{more}.net.0.proj",))
                yield f"{ours}.mlp.fc2", Layer((f"{theirs}.ff{more}.net.2",))
        if number in with_two:
            ours = f"joint_blocks.{number}.x_block.attn2"
            second = tuple(f"{theirs}.attn2.to_{part}" for part in "qkv")
            yield f"{ours}.qkv", Layer(second, (1, 1, 1))
            yield f"{ours}.ln_q", Layer((f"{theirs}.attn2.norm_q",))
            yield f"{ours}.ln_k", Layer((f"{theirs}.attn2.norm_k",))
            yield f"{ours}.proj", Layer((f"{theirs}.attn2.to_out.0",))


def original_layers(module: Any) -> Mapping[str, Layer]:
    """Of an SD3Transformer2DModel."""
    with_two = set(module.config.dual_attention_layers)
    layers = dict(_layers(len(module.transformer_blocks), with_two))
    if module.config.qk_norm is None:
        layers = {name: row for name, row in layers.items() if ".ln_" not in name}
    return layers


def _further(module: Any) -> int:
    channels: int = module.config.in_channels - LATENTS
    return channels


ARCHITECTURE: Final = Architecture(
    model=diffusers.SD3Transformer2DModel,
    read=read,
    network=lambda module, controls, _guidance: SD3(module, controls),
    further=_further,
    layers=original_layers,
    control=CONTROL,
)
