"""Flux.2's transformer: latents are its tokens; all blocks of a kind are told alike how to act.

Source: Black Forest Labs, github.com/black-forest-labs/flux2 (`src/flux2/model.py`), whose names of
layers are the original ones here; of the double blocks' attention diffusers has three layers where
it has one of three times the outputs.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import diffusers
import torch

from generation.runtime.networks.architecture import Architecture, Layer, counted, renamed
from generation.runtime.networks.flux import TRAINED
from generation.runtime.networks.flux_layers import SIDES, attention_of
from generation.runtime.tiling import Tile
from generation.runtime.weights import Weights

AXES: Final = 4
"""By which a token's place is told: which picture, row, column, and which word of a text."""

APART: Final = 10
"""Of the first place of one picture to that of the next."""


class Flux2:
    """Calls a Flux2Transformer2DModel."""

    def __init__(self, module: Any) -> None:
        self.unwanted: tuple[bool, ...] = ()
        self.done = 0.0
        self._module = module

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
        """As Network's."""
        dtype, count = self._module.dtype, len(latents)
        high, wide = latents.shape[-2:]
        pictures = (latents, *references)
        where = [
            places(
                latents.device, picture=number * APART, rows=one.shape[-2], columns=one.shape[-1]
            )
            for number, one in enumerate(pictures)
        ]
        answer = self._module(
            hidden_states=torch.cat([one.flatten(2).mT for one in pictures], dim=1).to(dtype),
            encoder_hidden_states=cross.to(dtype),
            timestep=timestep.expand(count) / TRAINED,
            img_ids=torch.cat(where),
            txt_ids=places(latents.device, words=cross.shape[1]),
            return_dict=False,
        )[0]
        found: torch.Tensor = answer[:, : high * wide].mT.reshape(count, -1, high, wide)
        return found


def places(
    device: torch.device, *, picture: int = 0, rows: int = 1, columns: int = 1, words: int = 1
) -> torch.Tensor:
    """Where each token stands, (rows * columns * words, 4)."""
    sides = [torch.arange(side, device=device) for side in (rows, columns, words)]
    return torch.cartesian_prod(torch.tensor([picture], device=device), *sides)


def read(tensors: Weights, _config: dict[str, Any]) -> tuple[dict[str, Any], Weights]:
    """Of a single file, in the original names or in diffusers': all figures are in its shapes."""
    own = tensors
    if "img_in.weight" in tensors:
        doubles, singles = (counted(tensors, f"{one}_blocks.") for one in ("double", "single"))
        own = renamed(tensors, dict(_layers(doubles, singles)))
    hidden, channels = own["x_embedder.weight"].shape
    head = len(own["transformer_blocks.0.attn.norm_q.weight"])
    told = "time_guidance_embed.{}_embedder.linear_1.weight"
    config = {
        "in_channels": channels,
        "out_channels": len(own["proj_out.weight"]),
        "num_layers": counted(own, "transformer_blocks."),
        "num_single_layers": counted(own, "single_transformer_blocks."),
        "attention_head_dim": head,
        "num_attention_heads": hidden // head,
        "joint_attention_dim": own["context_embedder.weight"].shape[1],
        "timestep_guidance_channels": own[told.format("timestep")].shape[1],
        "guidance_embeds": told.format("guidance") in own,
        "mlp_ratio": own["transformer_blocks.0.ff.linear_out.weight"].shape[1] / hidden,
        "axes_dims_rope": (head // AXES,) * AXES,
    }
    return config, own


def _layers(doubles: int, singles: int) -> Iterator[tuple[str, Layer]]:
    """The original names of the layers, each with diffusers'; of so many blocks of each kind."""
    yield "img_in", Layer(("x_embedder",))
    yield "txt_in", Layer(("context_embedder",))
    yield "final_layer.linear", Layer(("proj_out",))
    yield "final_layer.adaLN_modulation.1", Layer(("norm_out.linear",), turned=True)
    for ours, theirs in (("time", "timestep"), ("guidance", "guidance")):
        for number, end in enumerate(("in_layer", "out_layer"), 1):
            module = f"time_guidance_embed.{theirs}_embedder.linear_{number}"
            yield f"{ours}_in.{end}", Layer((module,))
    for kind in ("double_stream_modulation_img", "double_stream_modulation_txt"):
        yield f"{kind}.lin", Layer((f"{kind}.linear",))
    yield "single_stream_modulation.lin", Layer(("single_stream_modulation.linear",))
    for block in range(doubles):
        ours, theirs = f"double_blocks.{block}", f"transformer_blocks.{block}"
        for side, more in SIDES.items():
            for name, layer in attention_of(side, f"{theirs}.attn").items():
                yield f"{ours}.{side}_attn.{name}", layer
            yield f"{ours}.{side}_mlp.0", Layer((f"{theirs}.ff{more}.linear_in",))
            yield f"{ours}.{side}_mlp.2", Layer((f"{theirs}.ff{more}.linear_out",))
    for block in range(singles):
        ours, theirs = f"single_blocks.{block}", f"single_transformer_blocks.{block}.attn"
        yield f"{ours}.linear1", Layer((f"{theirs}.to_qkv_mlp_proj",))
        yield f"{ours}.linear2", Layer((f"{theirs}.to_out",))
        yield f"{ours}.norm.query_norm", Layer((f"{theirs}.norm_q",))
        yield f"{ours}.norm.key_norm", Layer((f"{theirs}.norm_k",))


def original_layers(module: Any) -> Mapping[str, Layer]:
    """Of a Flux2Transformer2DModel."""
    return dict(_layers(len(module.transformer_blocks), len(module.single_transformer_blocks)))


ARCHITECTURE: Final = Architecture(
    model=diffusers.Flux2Transformer2DModel,
    read=read,
    network=lambda module, _controls, _guidance: Flux2(module),
    further=lambda _module: 0,
    layers=original_layers,
)
