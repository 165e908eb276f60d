"""Flux.1's attention that also attends to what IP-Adapters make of pictures.

Sources: XLabs, github.com/XLabs-AI/x-flux, whose act on the double blocks, where what is found is
added behind the whole block, as in diffusers' FluxIPAdapterAttnProcessor; InstantX,
huggingface.co/InstantX/FLUX.1-dev-IP-Adapter, whose act on all blocks, within their attention.
"""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.models.embeddings import apply_rotary_emb
from torch.nn import functional

from generation.runtime.networks.image_attention import LayerPicture

DOUBLE, SINGLE = "transformer_blocks.", "single_transformer_blocks."


class JointAttention:
    """A processor of diffusers' for the attention of one block."""

    def __init__(self, shown: Sequence[LayerPicture], rows: torch.Tensor) -> None:
        self._shown = shown
        self._rows = rows

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: Any = None,
    ) -> Any:
        """As diffusers' FluxAttnProcessor, of tokens (B, T, width): of a double block the
        picture's and the text's, and what its IP-Adapters add behind it.
        """

        def headed(states: torch.Tensor) -> torch.Tensor:
            return states.reshape(*states.shape[:2], -1, attn.head_dim)

        query = own = attn.norm_q(headed(attn.to_q(hidden_states)))
        key = attn.norm_k(headed(attn.to_k(hidden_states)))
        value = headed(attn.to_v(hidden_states))
        texts = 0
        if encoder_hidden_states is not None:
            texts = encoder_hidden_states.shape[1]
            theirs = attn.norm_added_q(headed(attn.add_q_proj(encoder_hidden_states)))
            query = torch.cat((theirs, query), dim=1)
            theirs = attn.norm_added_k(headed(attn.add_k_proj(encoder_hidden_states)))
            key = torch.cat((theirs, key), dim=1)
            value = torch.cat((headed(attn.add_v_proj(encoder_hidden_states)), value), dim=1)
        if image_rotary_emb is not None:
            query = apply_rotary_emb(query, image_rotary_emb, sequence_dim=1)
            key = apply_rotary_emb(key, image_rotary_emb, sequence_dim=1)
        found = _attended(query, key, value, attention_mask)
        text, found = found[:, :texts], found[:, texts:]
        behind: torch.Tensor | None = None
        for one in self._shown:
            seen = one.weight * _attended(
                own,
                headed(one.keys.to(own)[self._rows]),
                headed(one.values.to(own)[self._rows]),
            )
            if not one.behind:
                found = found + seen
            else:
                behind = seen if behind is None else behind + seen
        if encoder_hidden_states is None:
            return found
        answer = attn.to_out[1](attn.to_out[0](found.contiguous()))
        text = attn.to_add_out(text.contiguous())
        return (answer, text) if behind is None else (answer, text, behind)


def _attended(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Of heads (B, T, heads, size) tokens (B, T, width)."""
    query, key, value = (one.transpose(1, 2) for one in (query, key, value))
    found = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return found.transpose(1, 2).flatten(2, 3).to(query.dtype)


def block_layers(module: Any, *, single: bool) -> list[str]:
    """The attention of each block in the order in which IP-Adapters number them: of the double
    ones, and of the `single` ones behind.
    """
    begins = (DOUBLE, SINGLE) if single else (DOUBLE,)
    return [
        name.removesuffix(".processor")
        for name in module.attn_processors
        if name.startswith(begins)
    ]
