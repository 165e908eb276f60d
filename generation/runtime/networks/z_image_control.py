"""Z-Image's ControlNets: blocks that see the control picture, beside some of the transformer's.

Source: Alibaba PAI, huggingface.co/alibaba-pai/Z-Image-Turbo-Fun-Controlnet-Union (1.0, 2.0, 2.1),
whose names of layers are diffusers'. They see what the transformer makes of latents and text by its
own first layers, which they are lent.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

import diffusers
import torch
from torch.nn import functional

from generation.runtime.networks.architecture import ControlMake, counted
from generation.runtime.networks.control import Control
from generation.runtime.quantised import Packed
from generation.runtime.tiling import Tile
from generation.runtime.weights import Weights

LATENTS: Final = 16
"""Channels that 1.0 is shown; later ones are shown more, for inpainting."""
PATCH: Final = 2
"""Latents of a token's side."""
FIRST: Final = "control_noise_refiner.0.before_proj.weight"
"""Of 2.0, too, where it is nothing."""
LENT: Final = (
    *("t_scale", "t_embedder", "all_x_embedder", "cap_embedder", "rope_embedder"),
    *("noise_refiner", "context_refiner", "x_pad_token", "cap_pad_token"),
)
"""The transformer's, by which a ControlNet sees what it sees."""


def added(
    module: Any,
    controls: Sequence[Control],
    told: tuple[list[torch.Tensor], torch.Tensor, list[torch.Tensor]],
    tile: Tile,
) -> dict[int, torch.Tensor]:
    """What ControlNets add behind some of a transformer's blocks, by their numbers; they are `told`
    what it is: latents, what is left of the picture, texts.
    """
    found: dict[int, torch.Tensor] = {}
    for control in controls:
        net = control.module
        shown = control.part(tile).to(told[0][0])
        # what later ones are shown for inpainting: nothing
        missing = net.control_in_dim - shown.shape[1]
        hint = functional.pad(shown, (0, 0, 0, 0, 0, missing))[0, :, None]
        with lent(module, net):
            answers = net(*told, [hint] * len(told[0]), conditioning_scale=control.scale)
        each = len(module.layers) // len(answers) if net.evenly else 1
        for number, answer in answers.items():
            block = number * each
            found[block] = answer if block not in found else found[block] + answer
    return found


@contextlib.contextmanager
def lent(module: Any, net: Any) -> Iterator[None]:
    """While it lasts a ControlNet has a transformer's first layers: not as parts of its own, which
    would be moved with it, and no longer, or they stayed in memory with it.
    """
    net.__dict__.update({name: getattr(module, name) for name in LENT})
    try:
        yield
    finally:
        net.__dict__.update(dict.fromkeys(LENT))


def read(tensors: Weights) -> tuple[dict[str, Any], Weights]:
    """Of a single file: 1.0 refines what it sees alone, 2.0 with its own blocks, 2.1 with others;
    they stand beside the transformer's blocks at even distances.
    """
    first, own = tensors.get(FIRST), tensors
    width, inputs = tensors["control_all_x_embedder.2-1.weight"].shape
    refiners = counted(tensors, "control_noise_refiner.")
    refined = None
    if inputs // PATCH**2 != LATENTS:
        nothing = first is None or (not isinstance(first, Packed) and not first.any())
        refined = "control_layers" if nothing else "control_noise_refiner"
    if refined == "control_layers":
        own = {n: t for n, t in tensors.items() if not n.startswith("control_noise_refiner.")}
    layers = list(range(counted(tensors, "control_layers.")))
    heads = width // len(tensors["control_layers.0.attention.norm_q.weight"])
    config = {
        "control_layers_places": layers,
        "control_refiner_layers_places": list(range(refiners)),
        "control_in_dim": inputs // PATCH**2,
        "add_control_noise_refiner": refined,
        "dim": width,
        "n_refiner_layers": refiners,
        "n_heads": heads,
        "n_kv_heads": heads,
    }
    return config, own


def fits(net: Any, denoiser: Any) -> bool:
    """Whether it can be added to that transformer."""
    return bool(net.config.dim == denoiser.config.dim)


def noted(net: Any, _tensors: Weights, _name: str) -> None:
    """Whether its blocks stand at even distances: a file does not say where."""
    net.evenly = net.control_layers_places == list(range(len(net.control_layers)))


CONTROL: Final = ControlMake(
    model=diffusers.ZImageControlNetModel, read=read, fits=fits, noted=noted, lends=True
)
