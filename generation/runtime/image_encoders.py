"""What sees the pictures that IP-Adapters are shown: the image encoders of CLIP and of SigLIP."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from generation.families.image_prompts import SIGLIP
from generation.models import ModelFile
from generation.runtime.weights import Weights

MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
DEVIATION: Final = (0.26862954, 0.26130258, 0.27577711)
"""Of the pictures that CLIP was trained on; SigLIP has HALF for both."""
HALF: Final = (0.5, 0.5, 0.5)
HEADS: Final[Mapping[int, int]] = {768: 12, 1024: 16, 1152: 16, 1280: 16, 1664: 16}
"""Of attention, by the width of an encoder."""
OPENAI: Final = 1024
"""The width of the encoder that OpenAI trained, with an activation of its own."""
HEAD: Final = 64


def load_eyes(file: ModelFile, dtype: torch.dtype) -> Any:
    """An image encoder. Of a whole CLIP the half that reads text is left."""
    tensors = {
        name: tensor
        for name, tensor in load_file(file.path).items()
        if name.startswith(("vision_model.", "visual_projection."))
    }
    begins = "vision_model.encoder.layers."
    siglip = file.family == SIGLIP
    patches = tensors["vision_model.embeddings.patch_embedding.weight"]
    width, patch = patches.shape[0], patches.shape[-1]
    # CLIP has a place for the picture as a whole
    places = len(tensors["vision_model.embeddings.position_embedding.weight"]) - (not siglip)
    figures = {
        "hidden_size": width,
        "intermediate_size": len(tensors[f"{begins}0.mlp.fc1.weight"]),
        "num_hidden_layers": len({n.split(".")[3] for n in tensors if n.startswith(begins)}),
        "num_attention_heads": HEADS.get(width, max(1, width // HEAD)),
        "image_size": round(places**0.5) * patch,
        "patch_size": patch,
    }
    eyes, about = _siglip(figures, tensors) if siglip else _clip(figures, tensors)
    missing = sorted(name for name in about["missing_keys"] if "position_ids" not in name)
    if missing:
        raise ValueError(f"{missing[0]} is not in it")
    return eyes.to(dtype).eval().requires_grad_(False)


def _clip(figures: dict[str, int], tensors: Weights) -> Any:
    config = CLIPVisionConfig(
        **figures,
        projection_dim=len(tensors["visual_projection.weight"]),
        hidden_act="quick_gelu" if figures["hidden_size"] == OPENAI else "gelu",
    )
    return CLIPVisionModelWithProjection.from_pretrained(
        None, config=config, state_dict=tensors, output_loading_info=True
    )


def _siglip(figures: dict[str, int], tensors: Weights) -> Any:
    return SiglipVisionModel.from_pretrained(
        None,
        config=SiglipVisionConfig(**figures),
        state_dict=tensors,
        output_loading_info=True,
    )


def pixels_for(picture: Image.Image, eyes: Any) -> torch.Tensor:
    """A picture as an encoder takes it, (1, 3, side, side): CLIP the middle of its longer side,
    SigLIP all of it, whatever its shape.
    """
    side, bicubic = eyes.config.image_size, Image.Resampling.BICUBIC
    if isinstance(eyes, SiglipVisionModel):
        return _pixels(picture.resize((side, side), bicubic), HALF, HALF)
    shorter = min(picture.size)
    size = [side if one == shorter else int(side * one / shorter) for one in picture.size]
    sized = picture.resize((size[0], size[1]), bicubic)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    return _pixels(sized.crop((left, top, left + side, top + side)), MEAN, DEVIATION)


def _pixels(
    picture: Image.Image, mean: tuple[float, ...], deviation: tuple[float, ...]
) -> torch.Tensor:
    values = np.asarray(picture, np.float32) / 255
    values = (values - np.array(mean, np.float32)) / np.array(deviation, np.float32)
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))[None]


def whole_seen(eyes: Any, pixels: torch.Tensor) -> torch.Tensor:
    """What an encoder sees of each picture as a whole, (N, width)."""
    answer = eyes(pixels)
    found: torch.Tensor = (
        answer.pooler_output if isinstance(eyes, SiglipVisionModel) else answer.image_embeds
    )
    return found


def parts_seen(eyes: Any, pixels: torch.Tensor) -> torch.Tensor:
    """What it sees of their parts, (N, parts, width), before its last layer."""
    found: torch.Tensor = eyes(pixels, output_hidden_states=True).hidden_states[-2]
    return found
