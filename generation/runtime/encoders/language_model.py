"""Language models as text encoders: the prompt stands in what is said to one, and what it weights
is read without its weights, for its states don't bear being multiplied.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch.nn import functional

from generation.families import TextEncoder
from generation.request_fields import Conventions
from generation.runtime.encoders.encoder import Encoded, SeenPictures, Vectors, unweighted
from generation.runtime.weights import Weights

PREFIXES: Final = ("model.language_model.", "language_model.model.", "model.")
"""What may stand before the names of its layers, by the version of transformers and by what it is a
part of."""
ROPE: Final = {"rope_type": "default", "rope_theta": 1e6}
"""By which Qwen2.5 and Qwen3 know places, as published."""


class LanguageModel:
    """A model of transformers with its tokenizer."""

    def __init__(self, row: TextEncoder, module: Any, tokenizer: Any) -> None:
        self.row = row
        self.module = module
        self._tokenizer = tokenizer

    def encode(
        self,
        texts: Sequence[str],
        clip_skip: int,
        vectors: Vectors,
        conventions: Conventions,
        pictures: SeenPictures = (),
    ) -> dict[str, Encoded]:
        """As Encoder's: states (1, tokens, width) of the prompt and what follows it, filled up to
        as many tokens as its family reads; a longer prompt is read whole.
        """
        return {text: self._run(self.ids(text, conventions)) for text in texts}

    def ids(self, text: str, conventions: Conventions) -> list[int]:
        """The tokens of a prompt and of all that it stands in."""
        said = self.row.template.replace("{}", unweighted(text, conventions))
        ids: list[int] = self._tokenizer(said, truncation=False, verbose=False).input_ids
        return ids

    def fits(self, parts: Mapping[str, torch.Tensor]) -> bool | None:
        """None: words are learned for CLIP."""
        return None

    def _run(self, ids: list[int]) -> Encoded:
        device, filling = next(self.module.parameters()).device, self.row.tokens - len(ids)
        tokens, seen = torch.tensor([ids], device=device), None
        if filling > 0:
            tokens = functional.pad(tokens, (0, filling), value=self._tokenizer.pad_token_id)
            # what fills it up sees the prompt, and nothing sees that
            seen = functional.pad(torch.ones_like(tokens[:, :-filling]), (0, filling))
        read = self.row.states
        with torch.no_grad():
            found = self.module(
                tokens, attention_mask=seen, output_hidden_states=bool(read), use_cache=False
            )
        states = found.last_hidden_state
        if read:
            states = torch.cat([found.hidden_states[layers] for layers in read], dim=-1)
        return Encoded(states[:, self.row.unseen :], None)


def own_names(tensors: Weights) -> Weights:
    """A file's tensors by the names that the model alone has for them."""
    found = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    begins = next((p for p in PREFIXES if f"{p}embed_tokens.weight" in found), "")
    return {n.removeprefix(begins): t for n, t in found.items() if n.startswith(begins)}


def layers(tensors: Weights) -> int:
    """How many layers there are."""
    return len({name.split(".")[1] for name in tensors if name.startswith("layers.")})
