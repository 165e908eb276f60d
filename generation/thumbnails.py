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
    """`NAME.preview.png` or the like beside a model's file; inside or beside its folder."""
    bases = [model.path.with_suffix("")] if not model.is_folder else [model.path]
    for base in bases:
        for ending in ENDINGS:
            path = base.with_name(base.name + ending)
            if path.is_file():
                return path
    return None
