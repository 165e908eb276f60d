"""T5's encoder: text to hidden states, all tokens at once, each as strongly as any other.

What a prompt weights is read without its weights: its states don't bear being multiplied. In
ComfyUI's way a weight moves a token's state away from that of an empty prompt.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import accelerate
import torch
import transformers

from generation.families import TextEncoder
from generation.models import ModelFile
from generation.prompts.attention import comfyui_attention
from generation.request_fields import Conventions
from generation.runtime.encoders.encoder import Encoded, SeenPictures, Vectors, matrix, unweighted
from generation.runtime.tokenizers import load_t5_tokenizer
from generation.runtime.weights import Weights, filled

COMFYUI_TOKENS = 256
"""Up to which ComfyUI fills a prompt up."""
SHARED, EMBEDDING = "shared.weight", "encoder.embed_tokens.weight"
"""The same tensor by both its names; files have one of them or both."""


class T5Encoder:
    """A T5EncoderModel with its tokenizer."""

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
        """As Encoder's: states (1, tokens, width), filled up to as many tokens as its family
        reads; a longer prompt is read whole.
        """
        if conventions == "comfyui":
            return {text: self._weighted(text) for text in texts}
        if self.row.one_pad:
            return {text: self._padded(self.ids(text, conventions)) for text in texts}
        return {text: self._run(self.ids(text, conventions), self.row.tokens) for text in texts}

    def ids(self, text: str, conventions: Conventions) -> list[int]:
        """The tokens of a prompt and the mark of its end."""
        plain = unweighted(text, conventions)
        ids: list[int] = self._tokenizer(plain, truncation=False, verbose=False).input_ids
        return ids

    def fits(self, parts: Mapping[str, torch.Tensor]) -> bool | None:
        """None: words are learned for CLIP."""
        return None

    def _weighted(self, text: str) -> Encoded:
        """In ComfyUI's way, which reads what has one weight by itself, and leaves off the token
        that fills up where none looks at it.
        """
        ids: list[int] = []
        weights: list[float] = []
        for piece, weight in comfyui_attention(text):
            told = self._tokenizer(piece, add_special_tokens=False, truncation=False, verbose=False)
            ids += told.input_ids
            weights += [weight] * len(told.input_ids)
        least = self.row.comfyui_tokens or min(self.row.tokens, COMFYUI_TOKENS)
        least = 0 if self.row.one_pad else least
        found = self._run([*ids, self._tokenizer.eos_token_id], least)
        if all(weight == 1 for weight in weights):
            return found
        mark = [] if self.row.one_pad else [self._tokenizer.eos_token_id]
        nothing = self._run(mark, found.states.shape[1]).states
        factors = torch.ones_like(found.states[..., :1])
        factors[0, : len(weights), 0] = torch.tensor(weights).to(factors)
        moved = (found.states - nothing) * factors + nothing
        return Encoded(torch.where(factors == 1, found.states, moved), None)

    def _run(self, ids: list[int], least: int) -> Encoded:
        padded = ids + [self._tokenizer.pad_token_id] * (least - len(ids))
        tokens = torch.tensor([padded], device=next(self.module.parameters()).device)
        with torch.no_grad():
            return Encoded(self.module(tokens).last_hidden_state, None)

    def _padded(self, ids: list[int]) -> Encoded:
        """With one token behind that none looks at: what a mask leaves of a prompt that is filled
        up, with the first of what fills it.
        """
        padded = [*ids, self._tokenizer.pad_token_id]
        device = next(self.module.parameters()).device
        tokens = torch.tensor([padded], device=device)
        seen = torch.tensor([[1] * len(ids) + [0]], device=device)
        with torch.no_grad():
            return Encoded(self.module(tokens, attention_mask=seen).last_hidden_state, None)


def load(
    row: TextEncoder,
    tensors: Weights,
    _config: Path,
    _tokenizer: Path,
    dtype: torch.dtype,
    model: ModelFile,
) -> T5Encoder:
    """On the CPU. All figures are in the shapes of the tensors. Raises JobError."""
    own = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    shared = own.get(SHARED, own.get(EMBEDDING))
    if shared is not None:
        own[SHARED] = own[EMBEDDING] = shared
    with accelerate.init_empty_weights(include_buffers=False):
        module = transformers.T5EncoderModel(_settings(own))
    module = filled(module, own, dtype, model, "text encoder (T5)", model.quantise)
    module.encoder.embed_tokens = module.shared
    return T5Encoder(row, module, load_t5_tokenizer())


def _settings(tensors: Weights) -> transformers.T5Config:
    """Of T5 1.1's make: gated, and nothing tied."""
    block = "encoder.block.0.layer"
    words, width = matrix(tensors, SHARED)
    buckets, heads = matrix(tensors, f"{block}.0.SelfAttention.relative_attention_bias.weight")
    blocks = {name.split(".")[2] for name in tensors if name.startswith("encoder.block.")}
    return transformers.T5Config(
        vocab_size=words,
        d_model=width,
        d_kv=matrix(tensors, f"{block}.0.SelfAttention.q.weight")[0] // max(1, heads),
        d_ff=matrix(tensors, f"{block}.1.DenseReluDense.wi_0.weight")[0],
        num_layers=len(blocks) or 1,
        num_heads=heads,
        relative_attention_num_buckets=buckets,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        layer_norm_epsilon=1e-6,
    )
