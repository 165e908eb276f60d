"""A sentence about a picture, by Florence-2."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import structlog
import torch
from PIL import Image
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from generation.description import CAPTION_MAX
from generation.florence2 import JSON_MAX, WORDS, renamed, variant_of
from generation.models import ModelFile
from generation.regular_files import read_regular
from generation.request_parts import CaptionDetail
from generation.runtime.faults import JobError, broken

log = structlog.get_logger(__name__)

PROMPTS: Final[dict[CaptionDetail, str]] = {
    "short": "What does the image describe?",
    "detailed": "Describe in detail what is shown in the image.",
    "more detailed": "Describe with a paragraph what is shown in the image.",
}
"""What its tasks CAPTION, DETAILED_CAPTION and MORE_DETAILED_CAPTION stand for."""
SIDE: Final = 768
"""Pixels of the square that a picture is made, where the folder does not say."""
SIDE_MAX: Final = 2048
MEAN: Final = (0.485, 0.456, 0.406)
DEVIATION: Final = (0.229, 0.224, 0.225)
BEAMS: Final = 3
WORDS_MAX: Final = 256
"""Tokens of a sentence."""
REPEATED: Final = 3
"""No so many words stand twice in a sentence, as its makers have it."""
ROOM: Final = 2.0
"""Times its own bytes that a graphics card must have left over for it to run there."""


class CaptionWriter:
    """One Florence-2, loaded in main memory in float32."""

    def __init__(self, file: ModelFile, device: torch.device) -> None:
        """Raises JobError("model_broken") or ("nan_weights")."""
        self.file = file
        self._device = device
        try:
            self._side = _side(file.path)
            self._words = Tokenizer.from_file(str(file.path / WORDS))
            self._model = _loaded(file)
        except JobError:
            raise
        except Exception as error:
            # whatever a library raises of a file that is not what it says
            log.error("a captioner can't be loaded", file=file.shown, error=repr(error)[:500])
            raise broken(file.shown, error) from error

    def caption(
        self, picture: Image.Image, detail: CaptionDetail, after_word: Callable[[], None]
    ) -> str:
        """What the picture shows. `after_word` is called after each, and may raise."""
        model, config = self._model, self._model.config
        text = config.text_config
        strides = math.prod(config.vision_config.patch_stride)
        seen = (self._side // strides) ** 2 + 1
        asked = self._words.encode(PROMPTS[detail], add_special_tokens=False).ids
        begin, end = text.bos_token_id, text.eos_token_id
        tokens = [config.image_token_id] * seen + [begin, *asked, end]
        device = self._where()
        model.to(device)

        def watch(_tokens: Tensor, _scores: Tensor, **_: Any) -> Tensor:
            after_word()
            return torch.zeros(_tokens.shape[0], dtype=torch.bool, device=_tokens.device)

        try:
            with torch.inference_mode():
                made = model.generate(
                    input_ids=torch.tensor([tokens], device=device),
                    pixel_values=_pixels(picture, self._side).to(device),
                    attention_mask=torch.ones(1, len(tokens), dtype=torch.long, device=device),
                    num_beams=BEAMS,
                    do_sample=False,
                    early_stopping=True,
                    max_new_tokens=WORDS_MAX,
                    no_repeat_ngram_size=REPEATED,
                    decoder_start_token_id=text.decoder_start_token_id,
                    bos_token_id=begin,
                    eos_token_id=end,
                    pad_token_id=text.pad_token_id,
                    forced_bos_token_id=begin,
                    suppress_tokens=[config.image_token_id],
                    stopping_criteria=[watch],
                )
        finally:
            model.to("cpu")
        said = self._words.decode(made[0].tolist(), skip_special_tokens=True)
        return " ".join(said.split())[:CAPTION_MAX]

    def _where(self) -> torch.device:
        """The graphics card where it has room beside what draws there."""
        if self._device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self._device)
            if free > ROOM * self.file.size:
                return self._device
        return torch.device("cpu")


def _loaded(file: ModelFile) -> Any:
    from transformers import Florence2Config, Florence2ForConditionalGeneration

    tensors: dict[str, Tensor] = {}
    for weights in sorted(file.path.glob("*.safetensors")):
        tensors |= load_file(weights)
    variant = variant_of(tensors)
    said = json.loads(read_regular(file.path / "config.json", JSON_MAX))
    if variant == "microsoft":
        said, tensors = _config_of_microsoft(said), _of_microsoft(tensors)
    model = Florence2ForConditionalGeneration(Florence2Config(**_known(said)))
    whole = {name: tensor.float() for name, tensor in tensors.items()}
    if not all(bool(torch.isfinite(tensor).all()) for tensor in whole.values()):
        raise JobError("nan_weights", file=file.shown, part="network")
    missing, unexpected = model.load_state_dict(whole, strict=False)
    model.tie_weights()
    tied = ("embed_tokens.weight", "lm_head.weight", "pos_idx_to_embed")
    lost = [name for name in missing if not name.endswith(tied)]
    if lost:
        raise JobError("model_broken", file=file.shown, why=f"it lacks {lost[0]}")
    if unexpected:
        log.info("tensors that nothing reads", file=file.shown, names=list(unexpected)[:5])
    return model.eval()


def _known(said: dict[str, Any]) -> dict[str, Any]:
    """What of a folder's settings makes the network; nothing of it names code."""
    return {
        "vision_config": said["vision_config"],
        "text_config": {**said["text_config"], "model_type": "bart"},
        "image_token_id": said.get("image_token_id", 51289),
    }


def _config_of_microsoft(said: dict[str, Any]) -> dict[str, Any]:
    """Microsoft's settings as transformers has them."""
    vision, text = dict(said["vision_config"]), dict(said["text_config"])
    names = (
        *("depths", "patch_size", "patch_stride", "patch_padding", "patch_prenorm"),
        *("num_heads", "num_groups", "window_size", "projection_dim"),
    )
    kept = {name: vision[name] for name in names}
    kept["embed_dim"] = vision["dim_embed"]
    kept["max_temporal_embeddings"] = vision["visual_temporal_embedding"]["max_temporal_embeddings"]
    kept["max_position_embeddings"] = vision["image_pos_embed"]["max_pos_embeddings"]
    words = int(text["vocab_size"])
    layers = (
        *("d_model", "encoder_layers", "decoder_layers", "encoder_attention_heads"),
        *("decoder_attention_heads", "encoder_ffn_dim", "decoder_ffn_dim"),
        *("max_position_embeddings", "scale_embedding", "activation_function"),
        *("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"),
    )
    told = {name: text[name] for name in layers if name in text}
    # one more word, which stands for what is seen of the picture
    return {
        "vision_config": kept,
        "text_config": {**told, "vocab_size": words + 1},
        "image_token_id": words,
    }


def _of_microsoft(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        new = renamed(name)
        if new.startswith("lm_head.") or new.endswith("final_logits_bias"):
            continue  # the first is its words again, the second is nothing
        if new.endswith("image_projection.weight"):
            tensor = tensor.t().contiguous()
        elif new.endswith(("shared.weight", "embed_tokens.weight")):
            tensor = torch.cat([tensor, tensor.new_zeros(1, tensor.shape[1])])
        found[new] = tensor
    return found


def _side(folder: Path) -> int:
    """The side of the squares that it was trained on."""
    try:
        said = json.loads(read_regular(folder / "preprocessor_config.json", JSON_MAX))
        side = int(said["size"]["height"])
    except (OSError, ValueError, KeyError, TypeError):
        return SIDE
    return side if 0 < side <= SIDE_MAX else SIDE


def _pixels(picture: Image.Image, side: int) -> Tensor:
    """(1, 3, side, side), as it was trained: stretched, and around the mean of ImageNet."""
    square = picture.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
    values = torch.from_numpy(np.array(square)).permute(2, 0, 1).float() / 255
    mean, deviation = torch.tensor(MEAN), torch.tensor(DEVIATION)
    return ((values - mean[:, None, None]) / deviation[:, None, None])[None]
