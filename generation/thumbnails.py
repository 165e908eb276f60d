"""The pictures beside models, as A1111's and ComfyUI's users have them."""

import stat
from pathlib import Path
from typing import Final

from generation.models import ModelFile

ENDINGS: Final = tuple(
    f"{middle}{ending}"
    for middle in (".preview", "")
    for ending in (".png", ".jpg", ".jpeg", ".webp")
)
BYTES_MAX: Final = 32 * 2**20
"""Of a picture that is shown small."""


def thumbnail_of(model: ModelFile) -> Path | None:
    """`NAME.preview.png` or the like beside a model's file or folder; None where there is none."""
    name = model.path.name if model.is_folder else model.path.stem
    beside = (model.path.with_name(name + ending) for ending in ENDINGS)
    return next((path for path in beside if _may_be_read(path)), None)


def _may_be_read(path: Path) -> bool:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size <= BYTES_MAX
