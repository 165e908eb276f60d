"""Cross attention that also attends to what IP-Adapters make of pictures.

Source: Ye et al., "IP-Adapter": of each layer the keys and values of the picture stand beside those
of the text, and what is found there is added, times the adapter's weight.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import torch
from torch.nn import functional

STYLE: Final = "up_blocks.0.attentions.1."
COMPOSITION: Final = "down_blocks.2.attentions.1."
"""SDXL's blocks that draw style and layout alone. Source: Wang et al., "InstantStyle"."""
BLOCKS: Final = {"style": STYLE, "composition": COMPOSITION}


class ShownPicture(NamedTuple):
    """What an IP-Adapter makes of pictures: for each layer of cross attention that it acts on, by
    its name, keys and values (2, tokens, width); the first row is of the pictures, the second of
    none, for what is not wanted.
    """

    layers: Mapping[str, tuple[torch.Tensor, torch.Tensor]]
    weight: float
    start: float = 0.0
    end: float = 1.0
    behind: bool = False
    """Whether what is found is added behind a whole block, as XLabs' of Flux.1 have it."""

    def acts(self, done: float) -> bool:
        """Whether it does once so much of the steps is done."""
        return self.start <= done and (done < self.end or self.end >= 1)


class LayerPicture(NamedTuple):
    """What one layer attends to, as ShownPicture has it."""

    keys: torch.Tensor
    values: torch.Tensor
    weight: float
    behind: bool


class CrossAttention:
    """A processor of diffusers' for one layer of cross attention."""

    def __init__(self, shown: Sequence[LayerPicture], rows: torch.Tensor) -> None:
        self._shown = shown
        self._rows = rows

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
        **_: Any,
    ) -> torch.Tensor:
        """As diffusers' AttnProcessor2_0, of tokens (B, T, width)."""
        assert encoder_hidden_states is not None
        count = len(hidden_states)

        def headed(states: torch.Tensor) -> torch.Tensor:
            return states.view(count, -1, attn.heads, states.shape[-1] // attn.heads).transpose(
                1, 2
            )

        if attention_mask is not None:
            length = encoder_hidden_states.shape[1]
            mask = attn.prepare_attention_mask(attention_mask, length, count)
            attention_mask = mask.view(count, attn.heads, -1, mask.shape[-1])
        query = headed(attn.to_q(hidden_states))
        key, value = attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states)
        found = functional.scaled_dot_product_attention(
            query, headed(key), headed(value), attn_mask=attention_mask
        )
        for keys, values, weight, _behind in self._shown:
            seen = functional.scaled_dot_product_attention(
                query,
                headed(keys.to(query)[self._rows]),
                headed(values.to(query)[self._rows]),
            )
            found = found + weight * seen
        joined = found.transpose(1, 2).reshape(count, -1, key.shape[-1])
        answer: torch.Tensor = attn.to_out[1](attn.to_out[0](joined))
        return answer / float(attn.rescale_output_factor)


@contextlib.contextmanager
def attending(
    module: Any,
    pictures: Sequence[ShownPicture],
    done: float,
    rows: torch.Tensor,
    processor: Callable[[Sequence[LayerPicture], torch.Tensor], Any] = CrossAttention,
) -> Iterator[None]:
    """While it lasts a denoiser attends to the pictures that act now; `rows` (B,) is 0 where what
    is wanted is drawn, 1 where what is not.
    """
    acting = [one for one in pictures if one.weight and one.acts(done)]
    names = dict.fromkeys(name for one in acting for name in one.layers)
    layers = {name: module.get_submodule(name) for name in names}
    usual = {name: layer.processor for name, layer in layers.items()}
    for name, layer in layers.items():
        told = [
            LayerPicture(*one.layers[name], one.weight, one.behind)
            for one in acting
            if name in one.layers
        ]
        layer.processor = processor(told, rows)
    try:
        yield
    finally:
        for name, layer in layers.items():
            layer.processor = usual[name]


def rows_of(unwanted: Sequence[bool], like: torch.Tensor) -> torch.Tensor:
    """For each row of a call (B,) whether it is what is not wanted: 1, or 0."""
    told = torch.tensor([int(no) for no in unwanted or (False,)], device=like.device)
    return told.repeat_interleave(len(like) // len(told))


def cross_layers(module: Any) -> list[str]:
    """The layers of cross attention in the order in which IP-Adapters number them, 1, 3, 5, …"""
    return [
        name.removesuffix(".processor")
        for name in module.attn_processors
        if name.endswith("attn2.processor")
    ]
