"""The pictures beside models, as A1111's and ComfyUI's users have them."""

from pathlib import Path
from typing import Final

from generation.models import ModelFile

ENDINGS: Final = tuple(
    f"{middle}{ending}"
    for middle in (".preview", "")
    for ending in (".png", ".jpg", ".jpeg", ".webp")
)


def thumbnail_of(model: ModelFile) -> Path | None:
    """`NAME.preview.png` or the like beside a model's file or folder; None where there is none."""
    name = model.path.name if model.is_folder else model.path.stem
    beside = (model.path.with_name(name + ending) for ending in ENDINGS)
    return next((path for path in beside if path.is_file()), None)
