"""What an ONNX file in a model folder is: from its header, and from the lists beside it alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import structs

from generation.families.background_removers import remover_of
from generation.families.onnx import CLASSES, OnnxContents, onnx_contents
from generation.families.taggers import LABELS_WANTED
from generation.models import ModelFile, ModelKind, Unusable
from generation.onnx_header import OnnxHeader, read_onnx
from generation.regular_files import printable
from generation.tag_lists import TagKind, TagListError, read_tags

RATES: Final = "rating"
"""The variant of taggers that also say how fit a picture is for whom."""
TAGS_MIN: Final = 2000
"""Numbers of a network that may be a tagger whose list is lost; faces and moods have fewer."""


def onnx_model(path: Path, name: str, labels: Sequence[Path]) -> ModelFile | Unusable:
    """What it is; `labels` are the files beside it that may name its classes.

    Raises HeaderError for a file that is broken, and OSError.
    """
    header = read_onnx(path)
    file = printable(path.name)
    contents = onnx_contents(header, path.stem, (one.name for one in labels))
    if contents.kind is None:
        folders = path.parent.name, path.parent.parent.name
        remover = remover_of(header, (path.stem, *folders))
        if remover:
            kind = ModelKind.BACKGROUND_REMOVER
            contents = OnnxContents(kind=kind, family=remover)
    if contents.what:
        return Unusable(path, "model_other", {"file": file, "what": contents.what})
    if contents.unlabelled and _classes(header) in (0, *range(TAGS_MIN, 10**6)):
        return Unusable(path, "model_labels_missing", {"file": file, "wanted": LABELS_WANTED})
    if contents.kind is None or not contents.family:
        return Unusable(path, "model_unknown_layout", {"file": file})
    model = ModelFile(
        kind=contents.kind,
        name=name,
        path=path,
        family=contents.family,
        variant=contents.variant,
        size=path.stat().st_size
        + sum((path.parent / one).stat().st_size for one in header.external),
    )
    if contents.kind is not ModelKind.TAGGER:
        return model
    return _tagger(model, header, path.with_name(contents.labels))


def _tagger(model: ModelFile, header: OnnxHeader, labels: Path) -> ModelFile | Unusable:
    """With the list of its tags, which must be its own."""
    shown = {"file": printable(model.path.name), "labels": printable(labels.name)}
    try:
        tags = read_tags(labels)
    except TagListError as error:
        return Unusable(model.path, "model_labels_wrong", {**shown, "why": str(error)})
    classes = _classes(header)
    if classes not in (0, len(tags)):
        why = f"it has {len(tags)} tags, and the network gives {classes} numbers"
        return Unusable(model.path, "model_labels_wrong", {**shown, "why": why})
    variant = RATES if any(tag.kind is TagKind.RATING for tag in tags) else ""
    return structs.replace(model, variant=variant, labels=labels)


def _classes(header: OnnxHeader) -> int:
    """How many numbers it gives for a picture, the most where it has several outputs; 0 unknown."""
    rows = [port.shape for port in header.outputs if len(port.shape) == len(CLASSES)]
    return 0 if any(row[1] == 0 for row in rows) else max(row[1] for row in rows)
