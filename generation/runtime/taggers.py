"""Which tags hold of a picture, by a tagger's ONNX network and the list beside it."""

from typing import Any, Final

import numpy as np
import torch
from PIL import Image

from generation.description import SeenTag, in_order
from generation.families.taggers import TAGGERS, Tagger
from generation.models import ModelFile
from generation.runtime.faults import JobError
from generation.runtime.onnx_session import OnnxNetwork
from generation.tag_lists import PictureTag, TagKind, TagListError, read_tags

WHITE: Final = (255, 255, 255)
GONE: Final = "the list of its tags is gone"


class TagReader:
    """One tagger, loaded."""

    def __init__(self, file: ModelFile, device: torch.device, threads: int = 0) -> None:
        """Raises JobError("model_broken") or ("model_labels_wrong")."""
        self.file = file
        self._maker = TAGGERS[file.family]
        self._network = OnnxNetwork(file, device, threads)
        self._tags = _tags_of(file)
        self._input, shape = self._network.input
        rows, columns = shape[1:3] if self._maker.axes == "NHWC" else shape[2:4]
        if rows != columns:
            raise JobError("model_broken", file=file.shown, why="its pictures are no squares")
        self._side = rows or self._maker.side
        names = self._network.outputs
        self._output = next((name for name in self._maker.outputs if name in names), names[0])

    def probabilities(self, picture: Image.Image) -> np.ndarray:
        """Of each of its tags, (T,), from 0 to 1. Raises JobError."""
        pixels = prepared(picture, self._maker, self._side)
        (given,) = self._network.run({self._input: pixels}, [self._output])
        numbers: np.ndarray = np.asarray(given, np.float32).reshape(-1)
        if len(numbers) != len(self._tags):
            why = f"it has {len(self._tags)} tags, and the network gives {len(numbers)} numbers"
            labels = self.file.labels
            shown = labels.name if labels is not None else ""
            raise JobError("model_labels_wrong", file=self.file.shown, labels=shown, why=why)
        if self._maker.logits:
            powers = np.exp(-np.clip(numbers, -60, 60))
            squashed = 1 / (1 + powers)
            numbers = np.asarray(squashed, np.float32)
        if not np.isfinite(numbers).all():
            raise JobError("nan_weights", file=self.file.shown, part="network")
        bounded: np.ndarray = np.clip(numbers, 0, 1)
        return bounded

    def tags(
        self, picture: Image.Image, threshold: float, character_threshold: float
    ) -> tuple[tuple[SeenTag, ...], dict[str, float]]:
        """The tags that hold from these probabilities on, and that of each rating."""
        numbers = self.probabilities(picture)
        found: list[SeenTag] = []
        for tag, number in zip(self._tags, map(float, numbers), strict=True):
            character = tag.kind is TagKind.CHARACTER
            general = tag.kind is TagKind.GENERAL
            least = character_threshold if character else threshold
            if (character or general) and number >= least:
                found.append(SeenTag(tag.name, round(number, 4), character))
        return in_order(found), self._ratings(numbers)

    def ratings(self, picture: Image.Image) -> dict[str, float]:
        """The probability of each of its ratings; none where it rates nothing."""
        return self._ratings(self.probabilities(picture))

    def _ratings(self, numbers: np.ndarray) -> dict[str, float]:
        return {
            tag.name: round(float(number), 4)
            for tag, number in zip(self._tags, numbers, strict=True)
            if tag.kind is TagKind.RATING
        }


def prepared(picture: Image.Image, maker: Tagger, side: int) -> np.ndarray:
    """A picture as a tagger of that make takes it: (1, side, side, 3) or (1, 3, side, side)."""
    if picture.mode != "RGB":
        # what is transparent is white, as the square around it is
        whole = picture.convert("RGBA")
        picture = Image.new("RGB", whole.size, WHITE)
        picture.paste(whole, mask=whole.getchannel("A"))
    if maker.fit == "pad" and picture.width != picture.height:
        longer = max(picture.size)
        square = Image.new("RGB", (longer, longer), WHITE)
        corner = (longer - picture.width) // 2, (longer - picture.height) // 2
        square.paste(picture, corner)
        picture = square
    if picture.size != (side, side):
        picture = picture.resize((side, side), Image.Resampling.BICUBIC)
    pixels: Any = np.asarray(picture, np.float32)
    if maker.swapped:
        pixels = pixels[..., ::-1]
    if maker.scale != 1.0:
        pixels = pixels * np.float32(maker.scale)
    pixels = (pixels - np.asarray(maker.mean, np.float32)) / np.asarray(maker.deviation, np.float32)
    if maker.axes == "NCHW":
        pixels = pixels.transpose(2, 0, 1)
    return np.ascontiguousarray(pixels[None], np.float32)


def _tags_of(file: ModelFile) -> tuple[PictureTag, ...]:
    labels = file.labels
    if labels is None:
        raise JobError("model_broken", file=file.shown, why=GONE)
    try:
        return read_tags(labels)
    except OSError:
        raise JobError(
            "model_broken", file=file.shown, why="the list of its tags is gone"
        ) from None
    except TagListError as error:
        params = {"file": file.shown, "labels": labels.name, "why": str(error)}
        raise JobError("model_labels_wrong", **params) from error
