"""The names of tensors in GGUF files: those of llama.cpp's converters become the original ones.

Denoisers keep their original names there (city96's ComfyUI-GGUF, stable-diffusion.cpp). Source of
the others: `tensor_mapping.py` of the gguf library (MIT).
"""

from collections.abc import Mapping
from typing import Final, TypeVar

_T5_BLOCK: Final = {
    "attn_q": "layer.0.SelfAttention.q",
    "attn_k": "layer.0.SelfAttention.k",
    "attn_v": "layer.0.SelfAttention.v",
    "attn_o": "layer.0.SelfAttention.o",
    "attn_norm": "layer.0.layer_norm",
    "attn_rel_b": "layer.0.SelfAttention.relative_attention_bias",
    "ffn_gate": "layer.1.DenseReluDense.wi_0",
    "ffn_up": "layer.1.DenseReluDense.wi_1",
    "ffn_down": "layer.1.DenseReluDense.wo",
    "ffn_norm": "layer.1.layer_norm",
}
_T5: Final = {
    "token_embd": "shared",
    "enc.output_norm": "encoder.final_layer_norm",
}
_DECODER_BLOCK: Final = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_norm": "input_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_norm": "post_attention_layernorm",
}
_DECODER: Final = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
_EYE_BLOCK: Final = {
    "attn_q": "attn.q",
    "attn_k": "attn.k",
    "attn_v": "attn.v",
    "attn_out": "attn.proj",
    "ln1": "norm1",
    "ln2": "norm2",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_EYES: Final = {
    "mm.0": "visual.merger.mlp.0",
    "mm.2": "visual.merger.mlp.2",
    "v.post_ln": "visual.merger.ln_q",
    "v.patch_embd": "visual.patch_embed.proj",
    # of the second frame
    "v.patch_embd.weight": "visual.patch_embed.proj.weight",
}
EYES: Final = "clip"
"""What llama.cpp calls the part of any language model that sees pictures (mmproj)."""
PROJECTOR: Final = "clip.projector_type"
"""Which language model that is made for."""
SEEING: Final = {"qwen2.5vl_merger": ("qwen2.5-vl-7b", "visual.merger.mlp.2.bias", 3584)}
"""Of those that are read the make of text encoder, and a tensor with its width."""
TEXT_ENCODERS: Final = frozenset(("t5", "t5encoder", "qwen2vl", "qwen3", "qwen3vl"))
"""Of llama.cpp's architectures those that models of pictures have as their text encoders."""
PICTURES: Final = frozenset(
    (
        *("", "pig", "sd1", "sdxl", "sd3", "flux", "aura", "hidream", "cosmos", "ltxv", "hyvid"),
        *("wan", "lumina2", "qwen_image", "chroma", "flux2", "z_image", "krea2"),
    )
)
"""Architectures of models of pictures and videos, which their tensors tell better."""

_Tensor = TypeVar("_Tensor")


def plain_names(architecture: str, tensors: Mapping[str, _Tensor]) -> dict[str, _Tensor]:
    """The same under the original names; what is not known keeps its name."""
    if architecture in ("t5", "t5encoder"):
        return {
            _renamed(name, "enc.blk.", "encoder.block.", _T5, _T5_BLOCK): tensor
            for name, tensor in tensors.items()
        }
    if architecture in TEXT_ENCODERS:
        return {
            _renamed(name, "blk.", "model.layers.", _DECODER, _DECODER_BLOCK): tensor
            for name, tensor in tensors.items()
        }
    if architecture == EYES:
        return {
            _renamed(name, "v.blk.", "visual.blocks.", _EYES, _EYE_BLOCK): tensor
            for name, tensor in tensors.items()
        }
    return dict(tensors)


def _renamed(
    name: str, blocks: str, own_blocks: str, plain: Mapping[str, str], in_block: Mapping[str, str]
) -> str:
    stem, _, end = name.rpartition(".")
    if name.startswith(blocks):
        number, _, layer = stem.removeprefix(blocks).partition(".")
        return f"{own_blocks}{number}.{in_block.get(layer, layer)}.{end}"
    return f"{plain[stem]}.{end}" if stem in plain else name
