"""Qwen3, a language model, as a text encoder: what it thinks of a prompt before it answers.

The prompt is put to it as a question. What a prompt weights is read without its weights: its states
don't bear being multiplied.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import accelerate
import torch
import transformers

from generation.families import TextEncoder
from generation.models import ModelFile
from generation.request import Conventions
from generation.runtime.encoders.encoder import Encoded, Vectors, unweighted
from generation.runtime.tokenizers import load_qwen_tokenizer
from generation.runtime.weights import Weights, filled

ASKED: Final = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
"""How a prompt is put to it, as its authors' template has it of one question."""
ROPE: Final = 1_000_000.0
"""The base of the angles by which it knows places, as published with Qwen3."""
BEGINS: Final = ("model.language_model.", "language_model.model.", "model.")
"""What may stand before the names of its layers."""


class Qwen3Encoder:
    """A Qwen3Model with its tokenizer, up to the layer whose state is read."""

    def __init__(self, row: TextEncoder, module: Any, tokenizer: Any) -> None:
        self.row = row
        self.module = module
        self._tokenizer = tokenizer

    def encode(
        self, texts: Sequence[str], clip_skip: int, vectors: Vectors, conventions: Conventions
    ) -> dict[str, Encoded]:
        """As Encoder's: states (1, tokens, width), as many as the prompt has, read whole."""
        return {text: self._run(self.ids(text, conventions)) for text in texts}

    def ids(self, text: str, conventions: Conventions) -> list[int]:
        """The tokens of a prompt and of how it is put."""
        asked = ASKED.format(unweighted(text, conventions))
        ids: list[int] = self._tokenizer(asked, truncation=False, verbose=False).input_ids
        return ids

    def fits(self, parts: Mapping[str, torch.Tensor]) -> bool | None:
        """None: words are learned for CLIP."""
        return None

    def _run(self, ids: list[int]) -> Encoded:
        tokens = torch.tensor([ids], device=next(self.module.parameters()).device)
        with torch.no_grad():
            return Encoded(self.module(tokens, use_cache=False).last_hidden_state, None)


def load(
    row: TextEncoder,
    tensors: Weights,
    _config: Path,
    _tokenizer: Path,
    dtype: torch.dtype,
    model: ModelFile,
) -> Qwen3Encoder:
    """On the CPU, without the layers behind the state that is read. All figures are in the shapes
    of the tensors. Raises JobError.
    """
    tensors = {name.removeprefix("transformer."): t for name, t in tensors.items()}
    begins = next((one for one in BEGINS if f"{one}embed_tokens.weight" in tensors), "")
    own = {name.removeprefix(begins): t for name, t in tensors.items() if name.startswith(begins)}
    with accelerate.init_empty_weights(include_buffers=False):
        module = transformers.Qwen3Model(_settings(own, row.layer))
        if not row.final_norm:
            module.norm = torch.nn.Identity()
    module = filled(module, own, dtype, model, "text encoder (Qwen3)")
    return Qwen3Encoder(row, module, load_qwen_tokenizer(3))


def _settings(tensors: Weights, layer: int) -> transformers.Qwen3Config:
    """Up to the `layer`-th of its layers, counted from the last."""
    words, width = _shape(tensors, "embed_tokens")
    head = _shape(tensors, "layers.0.self_attn.q_norm")[0]
    blocks = {name.split(".")[1] for name in tensors if name.startswith("layers.")}
    heads, groups = (
        max(1, _shape(tensors, f"layers.0.self_attn.{part}_proj")[0] // head) for part in "qk"
    )
    return transformers.Qwen3Config(
        vocab_size=words,
        hidden_size=width,
        intermediate_size=_shape(tensors, "layers.0.mlp.gate_proj")[0],
        num_hidden_layers=max(1, len(blocks) - layer + 1),
        num_attention_heads=heads,
        num_key_value_heads=groups,
        head_dim=head,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE},
        tie_word_embeddings=False,
    )


def _shape(tensors: Weights, layer: str) -> tuple[int, int]:
    """Of a layer's weight; of one that is missing any, as it will be named then."""
    found = tensors.get(f"{layer}.weight")
    if found is None or not found.ndim:
        return (2, 2)
    return (found.shape[0], found.shape[1] if found.ndim > 1 else 1)
