"""What is to be known of a make of denoiser: how its files are read, and how it is called.

Each file of this folder has one `Architecture`; a family names it (`Family.network`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch

from generation.runtime.networks.control import Control
from generation.runtime.tiling import Tile
from generation.runtime.weights import Weights


class Network(Protocol):
    """A denoiser as it is called for one job."""

    done: float
    """The share of the steps that are done, by which ControlNets begin and end to act."""
    unwanted: tuple[bool, ...]
    """Of the texts of the next call, in order, whether each is what is not wanted."""

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
        """What the network answers, (B, C, h, w), in the precision of its weights.

        `latents` (B, C, h, w) are scaled as it expects; `timestep` is a scalar; `cross` (B, L, W);
        `pooled` (B, P) and `sizes` (B, K) where its family has them; `beside` (B, D, h, w) are the
        further channels of one that has them; `references` (B, C, h', w') each are the latents of
        the pictures that are shown to one that edits them. What packs latents into tokens packs and
        unpacks them itself.
        """
        ...


class Layer(NamedTuple):
    """A layer of the original code as diffusers has it: one module, or several of which each has a
    share of its outputs, in order.
    """

    modules: tuple[str, ...]
    shares: tuple[int, ...] = (1,)
    turned: bool = False
    """Whether the halves of its outputs are the other way round."""

    def rows(self, total: int) -> list[tuple[tuple[int, int], ...]]:
        """Of each module, from which of the layer's `total` rows to which; in order."""
        if self.turned:
            return [((total // 2, total), (0, total // 2))]
        unit = total // sum(self.shares)
        ends = [sum(self.shares[: place + 1]) * unit for place in range(len(self.shares))]
        return [((end - share * unit, end),) for share, end in zip(self.shares, ends, strict=True)]


def no_layers(_module: Any) -> Mapping[str, Layer]:
    """Where diffusers' names are the original ones."""
    return {}


def nothing_noted(_net: Any, _tensors: Weights, _name: str) -> None:
    """Of a ControlNet whose weights are all that there is to say."""


def usual(_net: Any, pixels: torch.Tensor, encode: Callable[[torch.Tensor], Any]) -> torch.Tensor:
    """Latents (1, C, h, w) as the denoiser has them, of which the mean is taken."""
    found: torch.Tensor = encode(pixels).latents(None, 1)
    return found


@dataclass(frozen=True)
class ControlMake:
    """How the ControlNets of a make of transformer are read: they see a picture's latents."""

    model: Any
    """diffusers' class."""
    read: Callable[[Weights], tuple[dict[str, Any], Weights]]
    """From the tensors of a single file to its config, and its weights under diffusers' names."""
    fits: Callable[[Any, Any], bool]
    """Whether a ControlNet can be used with a denoiser."""
    noted: Callable[[Any, Weights, str], None] = nothing_noted
    """Notes on a module what the tensors of its file say beside its weights, or its name."""
    latents: Callable[[Any, torch.Tensor, Callable[[torch.Tensor], Any]], torch.Tensor] = usual
    """What a ControlNet sees of a control picture's pixels (1, 3, H, W), from 0 to 1, by what
    encodes them as a StartPicture."""
    lends: bool = False
    """Whether a ControlNet is lent layers of the denoiser, which therefore is not streamed."""


@dataclass(frozen=True)
class Architecture:
    """A make of denoiser."""

    model: Any
    """diffusers' class."""
    read: Callable[[Weights, dict[str, Any]], tuple[dict[str, Any], Weights]]
    """From the tensors of a single file and the family's config, which may be empty, to the config
    of that model and its weights under diffusers' names."""
    network: Callable[[Any, Sequence[Control], float], Network]
    """Of a module: with ControlNets, and told that guidance where it is distilled."""
    further: Callable[[Any], int]
    """How many channels a module is shown beside the latents' own."""
    layers: Callable[[Any], Mapping[str, Layer]] = no_layers
    """The layers of a module by their names in the original code, by which LoRAs know them."""
    control: ControlMake | None = None
    """Of its ControlNets; None for UNets', which are of several makes and see pixels."""


def renamed(tensors: Weights, layers: Mapping[str, Layer]) -> Weights:
    """Tensors of the original code under diffusers' names."""
    found: Weights = {}
    for name, tensor in tensors.items():
        layer, _, end = name.rpartition(".")
        row = layers.get(layer)
        if row is None:
            continue
        for module, ranges in zip(row.modules, row.rows(len(tensor)), strict=True):
            pieces = [tensor[begin:last] for begin, last in ranges]
            own = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
            found[f"{module}.{'weight' if end == 'scale' else end}"] = own
    return found


def counted(names: "Weights | Mapping[str, Any]", begins: str) -> int:
    """How many blocks there are whose names begin so, such as `double_blocks.`."""
    return len({name.split(".", 2)[1] for name in names if name.startswith(begins)})
