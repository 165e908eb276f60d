"""Qwen2.5, alone or as the part of Qwen2.5-VL that reads.

The prompt stands in a request to describe a picture, whose own states the denoiser does not see.
"""

import json
from pathlib import Path
from typing import Any, Final

import accelerate
import torch
import transformers

from generation.families import TextEncoder
from generation.models import ModelFile
from generation.runtime.encoders.encoder import matrix
from generation.runtime.encoders.language_model import ROPE, LanguageModel, layers, own_names
from generation.runtime.tokenizers import load_qwen_tokenizer
from generation.runtime.weights import Weights, filled

HEAD: Final = 128
"""Channels of a head of attention, at every published size."""


def load(
    row: TextEncoder,
    tensors: Weights,
    config: Path,
    _tokenizer: Path,
    dtype: torch.dtype,
    model: ModelFile,
) -> LanguageModel:
    """On the CPU, without the eyes that it may have. Raises JobError."""
    words = own_names(tensors)
    with accelerate.init_empty_weights(include_buffers=False):
        module = transformers.Qwen2Model(transformers.Qwen2Config(**figures(words, said(config))))
    module = filled(module, words, dtype, model, "text encoder (Qwen2.5)", model.quantise)
    return LanguageModel(row, module, load_qwen_tokenizer())


def said(config: Path) -> dict[str, Any]:
    """What a folder's config.json says, if it has one."""
    file = config / "config.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found


def figures(tensors: Weights, told: dict[str, Any]) -> dict[str, Any]:
    """Of its config: by the shapes; what they don't tell is the published, or what a config.json
    says.
    """
    told = told.get("text_config", told)
    words, width = matrix(tensors, "embed_tokens.weight")
    outputs, _ = matrix(tensors, "layers.0.self_attn.q_proj.weight")
    heads = told.get("num_attention_heads") or max(1, outputs // HEAD)
    keys, _ = matrix(tensors, "layers.0.self_attn.k_proj.weight")
    return {
        "vocab_size": words,
        "hidden_size": width,
        "intermediate_size": matrix(tensors, "layers.0.mlp.gate_proj.weight")[0],
        "num_hidden_layers": layers(tensors) or 1,
        "num_attention_heads": heads,
        "num_key_value_heads": max(1, keys * heads // max(1, outputs)),
        "rope_parameters": dict(ROPE),
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
    }
