"""Networks that see depths, skeletons and edges in pictures, of which control pictures are made."""

from collections.abc import Mapping

from generation.models import ModelFile
from generation.runtime.parts import Parts
from generation.runtime.preprocessing import Sees


def seen_by(files: Mapping[str, ModelFile], parts: Parts) -> Mapping[str, Sees]:
    """What these annotators, by what they see, make of a picture. Raises JobError."""
    return {}
