"""Qwen2.5, alone or as the part of Qwen2.5-VL that reads: text to hidden states.

The prompt stands in a request to describe a picture, whose own states the denoiser does not see.
What it weights is read without its weights.
"""

import json
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

PREFIXES: Final = ("model.language_model.", "language_model.model.", "model.", "")
"""Before the names of its layers, by the version of transformers and by what it is a part of."""
HEAD: Final = 128
"""Channels of a head of attention, at every published size."""
THETA: Final = 1e6


class Qwen2Encoder:
    """A Qwen2Model with its tokenizer."""

    def __init__(self, row: TextEncoder, module: Any, tokenizer: Any) -> None:
        self.row = row
        self.module = module
        self._tokenizer = tokenizer

    def encode(
        self, texts: Sequence[str], clip_skip: int, vectors: Vectors, conventions: Conventions
    ) -> dict[str, Encoded]:
        """As Encoder's: states (1, tokens, width) of the prompt and what follows it; a longer
        prompt is read whole.
        """
        return {text: self._run(self.ids(text, conventions)) for text in texts}

    def ids(self, text: str, conventions: Conventions) -> list[int]:
        """The tokens of the whole request."""
        request = self.row.template.replace("{}", unweighted(text, conventions))
        ids: list[int] = self._tokenizer(request, truncation=False, verbose=False).input_ids
        return ids

    def fits(self, parts: Mapping[str, torch.Tensor]) -> bool | None:
        """None: words are learned for CLIP."""
        return None

    def _run(self, ids: list[int]) -> Encoded:
        tokens = torch.tensor([ids], device=next(self.module.parameters()).device)
        with torch.no_grad():
            states = self.module(tokens, use_cache=False).last_hidden_state
        return Encoded(states[:, self.row.unseen :], None)


def load(
    row: TextEncoder,
    tensors: Weights,
    config: Path,
    _tokenizer: Path,
    dtype: torch.dtype,
    model: ModelFile,
) -> Qwen2Encoder:
    """On the CPU, without the eyes that it may have. Raises JobError."""
    own = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    begins = next((p for p in PREFIXES if f"{p}embed_tokens.weight" in own), "")
    words = {n.removeprefix(begins): t for n, t in own.items() if n.startswith(begins)}
    with accelerate.init_empty_weights(include_buffers=False):
        module = transformers.Qwen2Model(_settings(words, config))
    module = filled(module, words, dtype, model, "text encoder (Qwen2.5)")
    return Qwen2Encoder(row, module, load_qwen_tokenizer())


def _settings(tensors: Weights, config: Path) -> transformers.Qwen2Config:
    """By the shapes; what they don't tell is the published, or what a folder's config.json says."""
    file = config / "config.json"
    said = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    said = said.get("text_config", said)
    words, width = _shape(tensors, "embed_tokens.weight")
    outputs, _ = _shape(tensors, "layers.0.self_attn.q_proj.weight")
    heads = said.get("num_attention_heads") or max(1, outputs // HEAD)
    keys, _ = _shape(tensors, "layers.0.self_attn.k_proj.weight")
    layers = {name.split(".")[1] for name in tensors if name.startswith("layers.")}
    return transformers.Qwen2Config(
        vocab_size=words,
        hidden_size=width,
        intermediate_size=_shape(tensors, "layers.0.mlp.gate_proj.weight")[0],
        num_hidden_layers=len(layers) or 1,
        num_attention_heads=heads,
        num_key_value_heads=max(1, keys * heads // max(1, outputs)),
        rope_parameters={"rope_type": "default", "rope_theta": THETA},
        rms_norm_eps=1e-6,
        tie_word_embeddings=False,
    )


def _shape(tensors: Weights, name: str) -> tuple[int, int]:
    """Of a matrix; of one that is missing any, as it will be named then."""
    found = tensors.get(name)
    return (found.shape[0], found.shape[1]) if found is not None and found.ndim == 2 else (1, 1)
