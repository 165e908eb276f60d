"""Qwen2.5-VL, which reads a prompt and sees the pictures that it is said of.

Source: QwenLM, github.com/QwenLM/Qwen2.5-VL: how a picture is cut up, and where its pieces stand.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import accelerate
import torch
import transformers
from PIL import Image

from generation.families import TextEncoder
from generation.models import ModelFile
from generation.request_fields import Conventions
from generation.runtime.encoders.encoder import Encoded, SeenPictures, Vectors, matrix, unweighted
from generation.runtime.encoders.language_model import ROPE, LanguageModel, own_names
from generation.runtime.encoders.qwen2 import figures, said
from generation.runtime.faults import JobError
from generation.runtime.tokenizers import load_qwen_tokenizer
from generation.runtime.weights import Weights, filled

EYES: Final = ("visual.", "model.visual.")
"""How the names of its eyes' tensors begin, by the version of transformers."""
FIRST: Final = "patch_embed.proj.weight"
PATCH: Final = 14
"""Pixels of a side of what an eye sees at once."""
MERGED: Final = 2
"""Patches of a side of what becomes one token."""
FRAMES: Final = 2
"""A picture is a film of so many frames, all the same."""
LEAST: Final = 56**2
"""Pixels below which a picture is enlarged."""
MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
SPREAD: Final = (0.26862954, 0.26130258, 0.27577711)
"""Of red, green and blue, as CLIP's authors have them."""
EYE_HEAD: Final = 80
"""Channels of a head of attention of its eyes, as published."""
PLACE: Final = "<|image_pad|>"
"""Stands for a token of a picture."""
PLACES: Final = (PLACE, "<|video_pad|>")
"""What a prompt must not hold: each would stand for a picture."""


class Seen(NamedTuple):
    """A picture as the eyes see it: its patches (high * wide, 3 * FRAMES * PATCH²), those of one
    token one behind the other, and how many there are each way.
    """

    patches: torch.Tensor
    high: int
    wide: int

    @property
    def tokens(self) -> int:
        """As how many it is read."""
        return self.high * self.wide // MERGED**2


class SeeingModel(LanguageModel):
    """A Qwen2_5_VLModel with its tokenizer."""

    def encode(
        self,
        texts: Sequence[str],
        clip_skip: int,
        vectors: Vectors,
        conventions: Conventions,
        pictures: SeenPictures = (),
    ) -> dict[str, Encoded]:
        """As Encoder's: states (1, tokens, width) of the pictures, the prompt and what follows."""
        seen = [seen_by_eyes(picture) for picture in pictures]
        return {text: self._see(self.ids(text, conventions, seen), seen) for text in texts}

    def ids(self, text: str, conventions: Conventions, seen: Sequence[Seen] = ()) -> list[int]:
        """The tokens of a prompt and of all that it stands in, a place for each of pictures'."""
        prompt = unweighted(text, conventions)
        for place in PLACES:
            prompt = prompt.replace(place, "")
        shown = "".join(
            self.row.picture.replace("{}", str(number)).replace(PLACE, PLACE * one.tokens)
            for number, one in enumerate(seen, 1)
        )
        ids: list[int] = self._tokenizer(
            self.row.template.replace("{}", shown + prompt), truncation=False, verbose=False
        ).input_ids
        return ids

    def _see(self, ids: list[int], seen: Sequence[Seen]) -> Encoded:
        device = next(self.module.parameters()).device
        tokens = torch.tensor([ids], device=device)
        shown: dict[str, Any] = {}
        if seen:
            sides = [[1, one.high, one.wide] for one in seen]
            shown = {
                "pixel_values": torch.cat([one.patches for one in seen]).to(device),
                "image_grid_thw": torch.tensor(sides, device=device),
                # without it transformers does not know which tokens stand in rows and columns
                "mm_token_type_ids": (tokens == self.module.config.image_token_id).int(),
            }
        with torch.no_grad():
            states = self.module(tokens, use_cache=False, **shown).last_hidden_state
        return Encoded(states[:, self.row.unseen :], None)


def seen_by_eyes(picture: Image.Image) -> Seen:
    """A picture in RGB, brought to the nearest sides that are whole tokens, in its patches."""
    unit = PATCH * MERGED
    wide, high = (max(unit, round(side / unit) * unit) for side in picture.size)
    if wide * high < LEAST:
        larger = math.sqrt(LEAST / (picture.width * picture.height))
        wide, high = (math.ceil(side * larger / unit) * unit for side in picture.size)
    sized = picture.resize((wide, high), Image.Resampling.BICUBIC)
    values = torch.frombuffer(bytearray(sized.tobytes()), dtype=torch.uint8).float() / 255
    values = (values.view(high, wide, 3) - torch.tensor(MEAN)) / torch.tensor(SPREAD)
    down, across = high // PATCH, wide // PATCH
    grid = values.view(down // MERGED, MERGED, PATCH, across // MERGED, MERGED, PATCH, 3)
    patches = grid.permute(0, 3, 1, 4, 6, 2, 5).unsqueeze(5).expand(*[-1] * 5, FRAMES, -1, -1)
    return Seen(patches.reshape(down * across, -1), down, across)


def load(
    row: TextEncoder,
    tensors: Weights,
    config: Path,
    _tokenizer: Path,
    dtype: torch.dtype,
    model: ModelFile,
) -> LanguageModel:
    """On the CPU. Raises JobError, also where it has no eyes."""
    words = own_names(tensors)
    eyes = {
        name.removeprefix("transformer.").removeprefix("model.").removeprefix("visual."): tensor
        for name, tensor in tensors.items()
        if name.removeprefix("transformer.").startswith(EYES)
    }
    _join(eyes)
    if not eyes:
        raise JobError("encoder_blind", file=model.shown)
    told = said(config)
    with accelerate.init_empty_weights(include_buffers=False):
        module = transformers.Qwen2_5_VLModel(
            transformers.Qwen2_5_VLConfig(
                text_config=_words_config(words, told), vision_config=_eyes_config(eyes, told)
            )
        )
    named = {f"language_model.{name}": tensor for name, tensor in words.items()}
    named |= {f"visual.{name}": tensor for name, tensor in eyes.items()}
    module = filled(module, named, dtype, model, "text encoder (Qwen2.5-VL)", model.quantise)
    return SeeingModel(row, module, load_qwen_tokenizer())


def _join(eyes: Weights) -> None:
    """What llama.cpp has in pieces: queries, keys and values, and the two frames of a patch."""
    for name in [name for name in eyes if ".attn.q." in name]:
        three = [eyes.pop(name.replace(".attn.q.", f".attn.{part}.")) for part in "qkv"]
        eyes[name.replace(".attn.q.", ".attn.qkv.")] = torch.cat(three)
    second = eyes.pop(f"{FIRST}.1", None)
    if second is not None:
        eyes[FIRST] = torch.stack((eyes[FIRST], second), dim=2)


def _words_config(words: Weights, told: dict[str, Any]) -> dict[str, Any]:
    """Of the part that reads. A place has three numbers, which share the channels of a head."""
    found = figures(words, told)
    half = found["hidden_size"] // found["num_attention_heads"] // 2
    share = half * 3 // 8
    sections = [half - 2 * share, share, share]
    rope = told.get("text_config", {}).get("rope_parameters", {})
    return {
        **found,
        "rope_parameters": {**ROPE, "mrope_section": rope.get("mrope_section", sections)},
    }


def _eyes_config(eyes: Weights, told: dict[str, Any]) -> dict[str, Any]:
    """Of the part that sees, by its shapes."""
    width = len(eyes.get("patch_embed.proj.weight", ()))
    own = told.get("vision_config", {})
    return {
        "depth": len({name.split(".")[1] for name in eyes if name.startswith("blocks.")}) or 1,
        "hidden_size": width or 1,
        "intermediate_size": matrix(eyes, "blocks.0.mlp.gate_proj.weight")[0],
        "num_heads": own.get("num_heads") or max(1, width // EYE_HEAD),
        "out_hidden_size": matrix(eyes, "merger.mlp.2.weight")[0],
        "patch_size": PATCH,
        "spatial_merge_size": MERGED,
        "temporal_patch_size": FRAMES,
    }
