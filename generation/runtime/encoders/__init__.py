"""Text encoders: what reads a prompt, one file an architecture."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import torch

from generation.families import TextEncoder
from generation.models import ModelFile
from generation.runtime.encoders import clip, qwen2, qwen2_vl, qwen3, t5
from generation.runtime.encoders.encoder import Encoded, Encoder, SeenPictures, Vectors
from generation.runtime.weights import Weights

__all__ = ["LOADING", "Encoded", "Encoder", "SeenPictures", "Vectors"]

Load = Callable[[TextEncoder, Weights, Path, Path, torch.dtype, ModelFile], Encoder]
"""From the tensors of one that lies alone, the folders of its config and its tokenizer, the
precision, and the file that errors name, to the encoder on the CPU."""

LOADING: Final[Mapping[str, Load]] = {
    "clip": clip.load,
    "t5": t5.load,
    "qwen3": qwen3.load,
    "qwen2": qwen2.load,
    "qwen2-vl": qwen2_vl.load,
}
"""By the make that families have for them."""
