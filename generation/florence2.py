"""Florence-2, which says in a sentence what a picture shows: how its folder is told, and read.

There are two layouts of the same weights: that of transformers (florence-community/Florence-2-base)
and that of Microsoft's own code (microsoft/Florence-2-base), which ComfyUI's nodes fetch. Neither
the code in such a folder nor its pickles are ever used.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from generation.regular_files import read_regular

FAMILY: Final = "florence2"
ARCHITECTURE: Final = "Florence2ForConditionalGeneration"
WORDS: Final = "tokenizer.json"
JSON_MAX: Final = 2**20
"""Bytes of its settings."""
EMBEDDINGS: Final = "language_model.shared.weight"
"""How its words' name ends in transformers' layout."""
MARKS: Final = {
    "model.vision_tower.convs.0.conv.weight": "",
    "vision_tower.convs.0.proj.weight": "microsoft",
}
"""Variants by a tensor that each has."""
RENAMED: Final = tuple(
    (re.compile(old), new)
    for old, new in (
        (r"^vision_tower\.convs\.(\d+)\.proj\.", r"vision_tower.convs.\1.conv."),
        (r"\.(conv[12])\.fn\.dw\.", r".\1."),
        (r"\.(window_attn|channel_attn)\.norm\.", r".norm1."),
        (r"\.(window_attn|channel_attn)\.fn\.", r".\1."),
        (r"\.ffn\.norm\.", r".norm2."),
        (r"\.ffn\.fn\.net\.", r".ffn."),
        (r"^vision_tower\.", r"model.vision_tower."),
        (r"^image_pos_embed\.", r"model.multi_modal_projector.image_position_embed."),
        (r"^image_proj_norm\.", r"model.multi_modal_projector.image_proj_norm."),
        (r"^image_projection$", r"model.multi_modal_projector.image_projection.weight"),
        (r"^visual_temporal_embed\.", r"model.multi_modal_projector.visual_temporal_embed."),
        (r"^language_model\.model\.", r"model.language_model."),
        (r"^language_model\.lm_head\.", r"lm_head."),
    )
)
"""Microsoft's names of tensors, one change after the other, as transformers has them."""


class _Config(msgspec.Struct):
    architectures: list[str] = []
    model_type: str = ""


def is_florence2(config: Path) -> bool:
    """Whether a config.json is one of its; Microsoft's names the same class."""
    try:
        found = msgspec.json.decode(read_regular(config, JSON_MAX), type=_Config)
    except (OSError, ValueError, msgspec.MsgspecError, RecursionError):
        return False
    return found.model_type == FAMILY and ARCHITECTURE in found.architectures


def variant_of(names: Mapping[str, Any]) -> str | None:
    """Whose layout tensors of these names have; None where it is neither."""
    return next((variant for name, variant in MARKS.items() if name in names), None)


def renamed(name: str) -> str:
    """A tensor of Microsoft's layout by its name in transformers'."""
    for old, new in RENAMED:
        name = old.sub(new, name)
    return name
