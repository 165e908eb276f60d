"""Qwen3: what it thinks of a prompt before it answers, up to the last layer whose state is read."""

from pathlib import Path

import accelerate
import torch
import transformers

from generation.families import TextEncoder
from generation.models import ModelFile
from generation.runtime.encoders.language_model import ROPE, LanguageModel, layers, own_names
from generation.runtime.tokenizers import load_qwen_tokenizer
from generation.runtime.weights import Weights, filled


def load(
    row: TextEncoder,
    tensors: Weights,
    _config: Path,
    _tokenizer: Path,
    dtype: torch.dtype,
    model: ModelFile,
) -> LanguageModel:
    """On the CPU, without the layers behind the last state that is read. All figures are in the
    shapes of the tensors. Raises JobError.
    """
    own = own_names(tensors)
    with accelerate.init_empty_weights(include_buffers=False):
        module = transformers.Qwen3Model(_settings(own, row))
        if row.states or not row.final_norm:
            module.norm = torch.nn.Identity()
    module = filled(module, own, dtype, model, "text encoder (Qwen3)", model.quantise)
    return LanguageModel(row, module, load_qwen_tokenizer(3))


def _settings(tensors: Weights, row: TextEncoder) -> transformers.Qwen3Config:
    """Of as many layers as it takes to the last state that is read."""
    words, width = _shape(tensors, "embed_tokens")
    head = _shape(tensors, "layers.0.self_attn.q_norm")[0]
    heads, groups = (
        max(1, _shape(tensors, f"layers.0.self_attn.{part}_proj")[0] // head) for part in "qk"
    )
    return transformers.Qwen3Config(
        vocab_size=words,
        hidden_size=width,
        intermediate_size=_shape(tensors, "layers.0.mlp.gate_proj")[0],
        num_hidden_layers=max(row.states or (1, layers(tensors) - row.layer + 1)),
        num_attention_heads=heads,
        num_key_value_heads=groups,
        head_dim=head,
        rms_norm_eps=1e-6,
        rope_parameters=dict(ROPE),
        tie_word_embeddings=False,
    )


def _shape(tensors: Weights, layer: str) -> tuple[int, int]:
    """Of a layer's weight; of one that is missing any, as it will be named then."""
    found = tensors.get(f"{layer}.weight")
    if found is None or not found.ndim:
        return (2, 2)
    return (found.shape[0], found.shape[1] if found.ndim > 1 else 1)
