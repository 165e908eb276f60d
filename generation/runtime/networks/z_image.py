"""Z-Image's transformer: text and picture are one row of tokens, two by two latents each.

Source: Alibaba's Z-Image, github.com/Tongyi-MAI/Z-Image, whose names of layers are diffusers';
ComfyUI's files have those of Lumina 2, with one layer of attention where there are three.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import diffusers
import torch

from generation.runtime.networks.architecture import Architecture, Layer, counted, renamed
from generation.runtime.networks.control import Control
from generation.runtime.networks.z_image_control import CONTROL, added
from generation.runtime.tiling import Tile
from generation.runtime.weights import Weights

PATCH: Final = 2
"""Latents of a token's side."""
TRAINED: Final = 1000
"""What timesteps are counted up to elsewhere; it is told what is left of the picture, from 0 to 1.
"""
PLACES: Final = (8192, 1024, 1024)
"""How many tokens of a text, rows and columns of a picture have places of their own, at least."""
BLOCKS: Final = ("layers", "noise_refiner", "context_refiner")
PADS: Final = ("x_pad_token", "cap_pad_token")


class ZImage:
    """Calls a ZImageTransformer2DModel."""

    def __init__(self, module: Any, controls: Sequence[Control] = ()) -> None:
        self.unwanted: tuple[bool, ...] = ()
        self.done = 0.0
        self._controls = controls
        self._module = module
        places = module.rope_embedder
        wanted = [max(own, least) for own, least in zip(places.axes_lens, PLACES, strict=True)]
        if wanted != list(places.axes_lens):
            # a place beyond the last would be an error, on some devices one that stops them
            places.axes_lens, places.freqs_cis = wanted, None

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
        dtype, count = self._module.dtype, len(latents)
        told = (
            list(latents.to(dtype)[:, :, None]),
            1 - timestep.expand(count) / TRAINED,
            list(cross.to(dtype)),
        )
        acting = [control for control in self._controls if control.acts(self.done)]
        more = added(self._module, acting, told, tile)
        answers = self._module(*told, controlnet_block_samples=more, return_dict=False)[0]
        # it answers with the way to the picture, others with that to the noise
        return -torch.stack(list(answers))[:, :, 0]


def read(tensors: Weights, _config: dict[str, Any]) -> tuple[dict[str, Any], Weights]:
    """Of a single file, in ComfyUI's names or in diffusers': all figures are in its shapes."""
    own = tensors
    if "x_embedder.weight" in tensors:
        layers = dict(_layers({block: counted(tensors, f"{block}.") for block in BLOCKS}))
        alike = {n: t for n, t in tensors.items() if n.rpartition(".")[0] not in layers}
        own = alike | renamed(tensors, layers)
    width, inputs = own["all_x_embedder.2-1.weight"].shape
    head = len(own["layers.0.attention.norm_q.weight"])
    own |= {pad: own[pad].reshape(1, -1) for pad in PADS if pad in own}
    config = {
        "in_channels": inputs // PATCH**2,
        "dim": width,
        "n_layers": counted(own, "layers."),
        "n_refiner_layers": counted(own, "noise_refiner."),
        "n_heads": width // head,
        "n_kv_heads": width // head,
        "cap_feat_dim": len(own["cap_embedder.0.weight"]),
        "axes_dims": (head // 4, head * 3 // 8, head * 3 // 8),
        "axes_lens": PLACES,
    }
    return config, own


def _layers(blocks: Mapping[str, int]) -> Iterator[tuple[str, Layer]]:
    """ComfyUI's names of the layers that have others in diffusers, each with those; of so many
    blocks of each kind.
    """
    yield "x_embedder", Layer(("all_x_embedder.2-1",))
    for end in ("linear", "adaLN_modulation.1"):
        yield f"final_layer.{end}", Layer((f"all_final_layer.2-1.{end}",))
    for kind, count in blocks.items():
        for block in range(count):
            attention = f"{kind}.{block}.attention"
            parts = tuple(f"{attention}.to_{part}" for part in "qkv")
            yield f"{attention}.qkv", Layer(parts, (1, 1, 1))
            yield f"{attention}.out", Layer((f"{attention}.to_out.0",))
            yield f"{attention}.q_norm", Layer((f"{attention}.norm_q",))
            yield f"{attention}.k_norm", Layer((f"{attention}.norm_k",))


def original_layers(module: Any) -> Mapping[str, Layer]:
    """Of a ZImageTransformer2DModel."""
    return dict(_layers({block: len(getattr(module, block)) for block in BLOCKS}))


ARCHITECTURE: Final = Architecture(
    model=diffusers.ZImageTransformer2DModel,
    read=read,
    network=lambda module, controls, _guidance: ZImage(module, controls),
    further=lambda _module: 0,
    layers=original_layers,
    control=CONTROL,
)
