"""Text encoders in files of their own: how each make is told, and what it is called."""

from collections.abc import Mapping
from typing import Final

import msgspec

from generation.families.layout import Layout, Part, ShapeSide
from generation.families.tensors import BOTH
from generation.models import ModelKind

BLIND: Final = "text alone"
"""The variant of a file without the part that sees, of a text encoder that has one as published."""


EYES_ALONE: Final = "pictures alone"
"""The variant of a file with that part alone (llama.cpp's mmproj), which goes with a BLIND one."""


class EncoderMake(msgspec.Struct, frozen=True, kw_only=True):
    """All text encoders that can stand for each other."""

    title: str
    file: str
    """What people know a file of it by."""
    within: str = ""
    """How its tensors begin in a checkpoint of one file, as ComfyUI writes those."""
    parts: tuple[Part, ...]
    """Its tensors, in each way in which they are named."""
    needs: tuple[str, ...] = ()
    """What tells it from others that are as wide."""
    lacks: tuple[str, ...] = ()
    """What makes it another one."""
    sides: tuple[ShapeSide, ...] = ()
    """Shapes beside its width that tell it; of names that end so, whatever they begin with."""
    eyes: str = ""
    """What files of it have that see pictures, too; those without are BLIND. "" where none sees, or
    nothing here needs it to."""

    @property
    def inside(self) -> tuple[Part, ...]:
        """Its tensors as they lie in a checkpoint of one file."""
        return tuple(
            msgspec.structs.replace(
                part,
                title=self.title,
                begins=self.within + part.begins,
                published=ShapeSide(
                    f"^{self.within}{part.begins}{part.tensors[0]}$", 1, part.published.sides
                ),
            )
            for part in self.parts
            if part.published is not None
        )

    def layouts(self, family: str) -> tuple[Layout, ...]:
        """How its files are told. Each must be there from its first layer to its last."""
        return tuple(
            Layout(
                kind=ModelKind.TEXT_ENCODER,
                family=family,
                needs=(f"^{part.begins}{part.tensors[0]}$", *self.needs),
                lacks=self.lacks,
                sides=(*((part.published,) if part.published else ()), *self.sides),
                parts=(part,),
            )
            for part in self.parts
        )


def _part(begins: str, width: int, *tensors: str) -> Part:
    """By the width of a word, which is the last side of the first tensor."""
    published = ShapeSide(f"^{begins}{tensors[0]}$", 1, frozenset((width,)))
    return Part(
        title="text encoder", begins=begins, published=published, tensors=tensors, enough=0.0
    )


def _clip(width: int, layers: int) -> tuple[Part, ...]:
    """As transformers names it, and as it does since version 5.6."""
    block = f"encoder.layers.{{0..{layers - 1}}}"
    return tuple(
        _part(
            begins,
            width,
            "embeddings.token_embedding.weight",
            "embeddings.position_embedding.weight",
            f"{block}.{{layer_norm1,layer_norm2,mlp.fc1,mlp.fc2}}.{BOTH}",
            f"{block}.self_attn.{{q,k,v,out}}_proj.{BOTH}",
            f"final_layer_norm.{BOTH}",
        )
        for begins in ("text_model.", "")
    )


def _t5(width: int, layers: int, *, biases: str = "0") -> tuple[Part, ...]:
    """The encoder of version 1.1. Its words lie under either name, or under both.

    `biases` are the blocks that have a table of relative positions.
    """
    block = f"encoder.block.{{0..{layers - 1}}}.layer"
    return tuple(
        _part(
            "",
            width,
            words,
            f"encoder.block.{{{biases}}}.layer.0.SelfAttention.relative_attention_bias.weight",
            f"{block}.0.SelfAttention.{{q,k,v,o}}.weight",
            f"{block}.1.DenseReluDense.{{wi_0,wi_1,wo}}.weight",
            f"{block}.{{0,1}}.layer_norm.weight",
            "encoder.final_layer_norm.weight",
        )
        for words in ("shared.weight", "encoder.embed_tokens.weight")
    )


def _language_model(width: int, layers: int, *more: str, last: bool = True) -> tuple[Part, ...]:
    """One that goes from word to word, alone or with the eyes that it has in a larger model.

    `more` is what each of its blocks has beside Llama's; `last` is whether all blocks are needed.
    """
    block = f"layers.{{0..{layers - 1}}}"
    return tuple(
        _part(
            begins,
            width,
            "embed_tokens.weight",
            f"{block}.self_attn.{{q,k,v,o}}_proj.weight",
            f"{block}.mlp.{{gate,up,down}}_proj.weight",
            f"{block}.{{input,post_attention}}_layernorm.weight",
            *(f"{block}.{name}" for name in more),
            *(("norm.weight",) if last else ()),
        )
        for begins in ("model.", "language_model.model.", "model.language_model.", "")
    )


_NORMS: Final = "self_attn.{q,k}_norm.weight"
_BIASES: Final = "self_attn.{q,k,v}_proj.bias"
_GEMMA: Final = "{pre,post}_feedforward_layernorm.weight"
_NORMED: Final = ("layers.0.self_attn.q_norm.weight$",)
_BIASED: Final = ("layers.0.self_attn.q_proj.bias$",)
_EYES: Final = ("visual.blocks.0.", "visual.patch_embed.")
_WORDS: Final = "embed_tokens.weight$"


def _words(*counts: int) -> ShapeSide:
    return ShapeSide(_WORDS, 0, frozenset(counts))


ENCODERS: Final[Mapping[str, EncoderMake]] = {
    "clip_l": EncoderMake(
        title="CLIP-L",
        file="clip_l.safetensors",
        within="text_encoders.clip_l.transformer.",
        parts=_clip(768, 12),
        lacks=("vision_model.",),
        # longer prompts are another model (Long-CLIP)
        sides=(ShapeSide("embeddings.position_embedding.weight$", 0, frozenset((77,))),),
    ),
    "clip_g": EncoderMake(
        title="CLIP-G",
        file="clip_g.safetensors",
        within="text_encoders.clip_g.transformer.",
        parts=_clip(1280, 32),
        lacks=("vision_model.",),
    ),
    "t5xxl": EncoderMake(
        title="T5-XXL",
        file="t5xxl_fp16.safetensors",
        within="text_encoders.t5xxl.transformer.",
        parts=_t5(4096, 24),
        lacks=("^encoder.block.1.layer.0.SelfAttention.relative_attention_bias.",),
    ),
    "umt5xxl": EncoderMake(
        title="UMT5-XXL",
        file="umt5_xxl_fp16.safetensors",
        within="text_encoders.umt5xxl.transformer.",
        parts=_t5(4096, 24, biases="0..23"),
    ),
    "qwen3-0.6b": EncoderMake(
        title="Qwen3 0.6B",
        file="qwen_3_06b_base.safetensors",
        within="text_encoders.qwen3_06b.transformer.",
        parts=_language_model(1024, 28, _NORMS),
        needs=_NORMED,
        lacks=_EYES,
    ),
    "qwen3-4b": EncoderMake(
        title="Qwen3 4B",
        file="qwen_3_4b.safetensors",
        within="text_encoders.qwen3_4b.transformer.",
        parts=_language_model(2560, 36, _NORMS),
        needs=_NORMED,
        lacks=(*_EYES, "_feedforward_layernorm."),
    ),
    "qwen3-8b": EncoderMake(
        title="Qwen3 8B",
        file="qwen_3_8b.safetensors",
        within="text_encoders.qwen3_8b.transformer.",
        parts=_language_model(4096, 36, _NORMS),
        needs=_NORMED,
        lacks=_EYES,
        sides=(_words(151936),),
    ),
    "qwen3-vl-4b": EncoderMake(
        title="Qwen3-VL 4B",
        file="qwen3vl_4b_bf16.safetensors",
        within="text_encoders.qwen3vl_4b.transformer.",
        parts=_language_model(2560, 36, _NORMS),
        needs=_NORMED,
        lacks=("_feedforward_layernorm.",),
    ),
    "qwen3-vl-8b": EncoderMake(
        title="Qwen3-VL 8B",
        file="qwen3vl_8b_bf16.safetensors",
        within="text_encoders.qwen3vl_8b.transformer.",
        parts=_language_model(4096, 36, _NORMS),
        needs=_NORMED,
        sides=(_words(151936),),
    ),
    "qwen2.5-vl-7b": EncoderMake(
        title="Qwen2.5-VL 7B",
        file="qwen_2.5_vl_7b.safetensors",
        within="text_encoders.qwen25_7b.transformer.",
        parts=_language_model(3584, 28, _BIASES),
        needs=_BIASED,
        eyes="visual.blocks.0.",
    ),
    "qwen2.5-vl-3b": EncoderMake(
        title="Qwen2.5-VL 3B",
        file="qwen_2.5_vl_fp16.safetensors",
        within="text_encoders.qwen25_3b.transformer.",
        parts=_language_model(2048, 36, _BIASES),
        needs=_BIASED,
    ),
    "mistral-small-24b": EncoderMake(
        title="Mistral Small 3 24B",
        file="mistral_3_small_flux2_bf16.safetensors",
        within="text_encoders.mistral3_24b.transformer.",
        # its last layers are left out where they serve pictures alone
        parts=_language_model(5120, 30, last=False),
        sides=(_words(131072),),
    ),
    "gemma2-2b": EncoderMake(
        title="Gemma 2 2B",
        file="gemma_2_2b_fp16.safetensors",
        within="text_encoders.gemma2_2b.transformer.",
        parts=_language_model(2304, 26, _GEMMA),
    ),
    "gemma3-4b": EncoderMake(
        title="Gemma 3 4B",
        file="gemma_3_4b_it_bf16.safetensors",
        within="text_encoders.gemma3_4b.transformer.",
        parts=_language_model(2560, 34, _GEMMA, _NORMS),
    ),
    "llama3.1-8b": EncoderMake(
        title="Llama 3.1 8B",
        file="llama_3.1_8b_instruct_fp8_scaled.safetensors",
        within="text_encoders.llama.transformer.",
        parts=_language_model(4096, 32),
        lacks=(".q_norm.", "q_proj.bias"),
        sides=(_words(128256, 128320),),
    ),
}
"""By the name that a family's `TextEncoder.file` has; the first that fits is it."""

LAYOUTS: Final = tuple(
    layout for family, make in ENCODERS.items() for layout in make.layouts(family)
)
