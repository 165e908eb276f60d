"""What of a picture words name, by CLIPSeg.

Source: Lüddecke and Ecker, "Image Segmentation Using Text and Image Prompts"; the network and its
names of tensors are transformers'. ComfyUI's and A1111's extensions take the same one.
"""

from collections.abc import Callable
from typing import Any, Final

import cv2
import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from generation.mask_words import phrases
from generation.messages import Generate
from generation.models import ModelFile
from generation.runtime.faults import JobError
from generation.runtime.masks import WORDS_SHOWN, unfound
from generation.runtime.parts import Parts
from generation.runtime.tokenizers import VOCABULARY, load_tokenizer
from generation.runtime.weights import Weights

SIDE: Final = 352
"""Pixels of the square that a picture is made."""
MEAN: Final = (0.485, 0.456, 0.406)
DEVIATION: Final = (0.229, 0.224, 0.225)
HEAD: Final = 64
"""Width of an attention's head."""
WHITE: Final = 255
_VISION: Final = "clip.vision_model"
_TEXT: Final = "clip.text_model"


def found_by_words(
    work: Generate, picture: Image.Image, parts: Parts, after_phrase: Callable[[], None]
) -> Image.Image:
    """What of a picture the words of a job's request name: white, or where its mask's greys count
    as sure as that is, and grown. `after_phrase` may raise.

    Raises JobError("mask_words_unfound") where nothing is, and for words that are too long.
    """
    request, file = work.request, work.segmenter
    assert file is not None
    assert request.mask_words is not None
    # where it lies, which is main memory but where there is only one: so the same is found whatever
    # the graphics card is
    network = parts.annotator(file, load)
    sure = np.zeros((picture.height, picture.width), np.float32)
    seen = _seen(network, picture)
    for phrase in phrases(request.mask_words):
        sure = np.maximum(sure, _sure(network, seen, phrase, picture.size))
        after_phrase()
    if not np.isfinite(sure).all():
        raise JobError("nan_weights", file=file.shown, part="network")
    # whole steps, so that the last bits of another processor change nothing
    greys = np.round(sure * WHITE).astype(np.uint8)
    there = greys >= max(1, round(request.mask_threshold * WHITE))
    if not there.any():
        raise unfound(request)
    kept = greys if request.differential == "on" else np.full_like(greys, WHITE)
    return Image.fromarray(grown(np.where(there, kept, 0), request.mask_growth))


def grown(greys: np.ndarray[Any, Any], pixels: int) -> np.ndarray[Any, Any]:
    """Greys (H, W) of which each place is as light as the lightest within so many pixels."""
    if pixels == 0:
        return greys.astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return np.asarray(cv2.dilate(greys.astype(np.uint8), disc), np.uint8)


def load(file: ModelFile, _dtype: torch.dtype) -> Any:
    """Its network, in float32, of a file or of transformers' folder."""
    weights: dict[str, Tensor] = {}
    for path in sorted(file.path.glob("*.safetensors")) if file.is_folder else [file.path]:
        weights |= load_file(path)
    whole = {name: tensor.float() for name, tensor in weights.items() if tensor.is_floating_point()}
    if not all(bool(torch.isfinite(tensor).all()) for tensor in whole.values()):
        raise JobError("nan_weights", file=file.shown, part="network")
    # here, for most jobs need none
    from transformers import CLIPSegForImageSegmentation

    network, about = CLIPSegForImageSegmentation.from_pretrained(
        None, config=_config(whole), state_dict=whole, output_loading_info=True
    )
    missing = sorted(about["missing_keys"])
    if missing:
        raise JobError("model_broken", file=file.shown, why=f"it lacks {missing[0]}")
    return network.eval().requires_grad_(False)


def pixels_of(picture: Image.Image) -> Tensor:
    """(1, 3, SIDE, SIDE), as it was trained: stretched, and around the mean of ImageNet."""
    square = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    values = torch.from_numpy(np.array(square)).permute(2, 0, 1).float() / WHITE
    mean, deviation = torch.tensor(MEAN), torch.tensor(DEVIATION)
    return ((values - mean[:, None, None]) / deviation[:, None, None])[None]


def _seen(network: Any, picture: Image.Image) -> list[Tensor]:
    """What three layers see of a picture, (1, N, C) each."""
    pixels = pixels_of(picture).to(_device(network))
    with torch.no_grad():
        seen = network.clip.vision_model(
            pixel_values=pixels, output_hidden_states=True, interpolate_pos_encoding=True
        )
    return [seen.hidden_states[layer + 1] for layer in network.extract_layers]


def _sure(
    network: Any, seen: list[Tensor], phrase: str, size: tuple[int, int]
) -> np.ndarray[Any, Any]:
    """How sure it is of each pixel that it shows that, from 0 to 1, for a picture of width and
    height `size`.
    """
    tokens = load_tokenizer(VOCABULARY)(phrase).input_ids
    most = network.config.text_config.max_position_embeddings
    if len(tokens) > most:
        raise JobError("mask_words_long", words=phrase[:WORDS_SHOWN])
    with torch.no_grad():
        named = network.get_conditional_embeddings(
            batch_size=1, input_ids=torch.tensor([tokens], device=_device(network))
        )
        logits = network.decoder(seen, named).logits.reshape(1, 1, SIDE, SIDE)
        sure = functional.interpolate(
            torch.sigmoid(logits), size[::-1], mode="bilinear", align_corners=False
        )
    return sure[0, 0].cpu().numpy()


def _device(network: Any) -> torch.device:
    device: torch.device = next(network.parameters()).device
    return device


def _config(weights: Weights) -> Any:
    """Of weights under transformers' names, by their shapes."""
    from transformers import CLIPSegConfig, CLIPSegTextConfig
    from transformers.models.clipseg import CLIPSegVisionConfig

    patch = weights[f"{_VISION}.embeddings.patch_embedding.weight"]
    positions = weights[f"{_VISION}.embeddings.position_embedding.weight"].shape[0] - 1
    words = weights[f"{_TEXT}.embeddings.token_embedding.weight"]
    return CLIPSegConfig(
        text_config=CLIPSegTextConfig(
            vocab_size=words.shape[0],
            hidden_size=words.shape[1],
            intermediate_size=weights[f"{_TEXT}.encoder.layers.0.mlp.fc1.weight"].shape[0],
            num_hidden_layers=_layers(weights, _TEXT),
            num_attention_heads=max(1, words.shape[1] // HEAD),
            max_position_embeddings=weights[f"{_TEXT}.embeddings.position_embedding.weight"].shape[
                0
            ],
        ),
        vision_config=CLIPSegVisionConfig(
            hidden_size=patch.shape[0],
            intermediate_size=weights[f"{_VISION}.encoder.layers.0.mlp.fc1.weight"].shape[0],
            num_hidden_layers=_layers(weights, _VISION),
            num_attention_heads=max(1, patch.shape[0] // HEAD),
            image_size=round(positions**0.5) * patch.shape[-1],
            patch_size=patch.shape[-1],
        ),
        projection_dim=weights["clip.text_projection.weight"].shape[0],
        reduce_dim=weights["decoder.reduces.0.weight"].shape[0],
        decoder_intermediate_size=weights["decoder.layers.0.mlp.fc1.weight"].shape[0],
        use_complex_transposed_convolution="decoder.transposed_convolution.0.weight" in weights,
    )


def _layers(weights: Weights, part: str) -> int:
    begins = f"{part}.encoder.layers."
    return len({name.split(".")[4] for name in weights if name.startswith(begins)})
