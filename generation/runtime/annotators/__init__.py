"""Networks that see depths, skeletons and edges in pictures, of which control pictures are made."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from generation.models import ModelFile
from generation.runtime.annotators import depth, edges, pose
from generation.runtime.parts import Parts
from generation.runtime.preprocessing import Rgb, Sees

NETWORKS: Final[Mapping[str, tuple[Callable[..., Any], Callable[..., Rgb]]]] = {
    "depth": (depth.load, depth.seen),
    "softedge": (edges.load_hed, edges.soft_edges),
    "lineart": (edges.load_lines, edges.lines),
}
"""Those in safetensors, by what they see: how each is loaded, and what it makes of a picture."""


def seen_by(files: Mapping[str, ModelFile], parts: Parts) -> Mapping[str, Sees]:
    """What these annotators, by what they see, make of a picture. Raises JobError."""
    found: dict[str, Sees] = {
        name: partial(_seen, NETWORKS[name], file, parts)
        for name, file in files.items()
        if name in NETWORKS
    }
    if "pose" in files:
        found["pose"] = lambda picture: pose.skeletons(
            parts.onnx(files["person"]), parts.onnx(files["pose"]), picture
        )
    return found


def _seen(
    make: tuple[Callable[..., Any], Callable[..., Rgb]],
    file: ModelFile,
    parts: Parts,
    picture: Rgb,
) -> Rgb:
    load, see = make
    network = parts.annotator(file, load)
    with parts.residency.at_work(network):
        return see(network, picture, parts.device)
