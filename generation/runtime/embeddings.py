"""Learned words (textual inversion) from their files: vectors by the text encoder they are for."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final

import safetensors
import safetensors.torch
import torch

from generation.models import ModelFile
from generation.regular_files import open_regular
from generation.runtime.faults import JobError, broken
from generation.runtime.lora_file import FileStamp, stamp_of
from generation.safetensors_header import HeaderError, read_header

KEPT: Final = 64
"""Files; one takes some hundred kB at most."""
FILE_MAX: Final = 64 * 2**20
"""Bytes of a file: 200 vectors of every encoder that there is take a fraction of it."""

VectorParts = Mapping[str, torch.Tensor]


class Embeddings:
    """Reads them, and keeps what was read until its file changes."""

    def __init__(self) -> None:
        self._kept: OrderedDict[FileStamp, VectorParts] = OrderedDict()

    def read(
        self, files: Sequence[ModelFile]
    ) -> tuple[dict[str, VectorParts], tuple[FileStamp, ...]]:
        """Vectors (tokens, width) by word and part, `clip_l`, `clip_g` or `*` for the only one,
        and what tells these files from others.

        Raises JobError: model_broken or another code of what is no safetensors file, nan_weights.
        """
        found: dict[str, VectorParts] = {}
        stamps: list[FileStamp] = []
        for file in files:
            stamp = stamp_of(file.path)
            if stamp not in self._kept:
                self._kept[stamp] = _read(file)
                if len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(stamp)
            found[file.name] = self._kept[stamp]
            stamps.append(stamp)
        return found, tuple(stamps)


def _read(file: ModelFile) -> VectorParts:
    path = file.path
    try:
        read_header(path)
        with open_regular(path) as opened:
            tensors = safetensors.torch.load(opened.read(FILE_MAX + 1))
    except (HeaderError, OSError, safetensors.SafetensorError, ValueError, KeyError) as error:
        raise broken(path.name, error) from error
    if any(not torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise JobError("nan_weights", file=file.shown, part="vector")
    named: VectorParts = {part: tensors[part] for part in ("clip_l", "clip_g") if part in tensors}
    if named:
        return named
    # of A1111 `emb_params` or `string_to_param.*`, of diffusers the word itself
    first = tensors.get("emb_params", next(iter(tensors.values()), None))
    if first is None or first.ndim not in (1, 2):
        raise JobError("model_broken", file=file.shown, why="it holds no vector of a word")
    return {"*": first.reshape(-1, first.shape[-1])}
