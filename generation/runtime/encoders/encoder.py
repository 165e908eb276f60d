"""What all text encoders have in common."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from PIL import Image

from generation.families import TextEncoder
from generation.prompts.attention import BREAK, attention, comfyui_attention
from generation.request_fields import Conventions
from generation.runtime.weights import Weights

Vectors = Mapping[str, Mapping[str, torch.Tensor]]
"""Textual inversion embeddings by the name that prompts call them by, each by the part that it is
for: (tokens, width)."""


SeenPictures = Sequence[Image.Image]
"""What text encoders see that see pictures, in RGB."""


class Encoded(NamedTuple):
    """A prompt's hidden states (1, tokens, width), and what the encoder pools of it (1, width),
    where it pools.
    """

    states: torch.Tensor
    pooled: torch.Tensor | None


class Encoder(Protocol):
    """A text encoder of a checkpoint with its tokenizer."""

    row: TextEncoder
    module: Any

    def encode(
        self,
        texts: Sequence[str],
        clip_skip: int,
        vectors: Vectors,
        conventions: Conventions,
        pictures: SeenPictures = (),
    ) -> dict[str, Encoded]:
        """What one prompt says, one text after another; the same one may come again. `pictures` are
        what it is said of, for one that sees.
        """
        ...

    def fits(self, parts: Mapping[str, torch.Tensor]) -> bool | None:
        """Whether an embedding has a part for this encoder; False where it is of another width,
        None where there is none.
        """
        ...


def unweighted(text: str, conventions: Conventions) -> str:
    """A prompt without its weights, for encoders whose states don't bear them."""
    if conventions == "comfyui":
        return "".join(piece for piece, _ in comfyui_attention(text))
    return "".join(" " if (piece, by) == BREAK else piece for piece, by in attention(text))


def matrix(tensors: Weights, name: str) -> tuple[int, int]:
    """The shape of a matrix; of one that is missing any, as it will be named then."""
    found = tensors.get(name)
    return (found.shape[0], found.shape[1]) if found is not None and found.ndim == 2 else (1, 1)
