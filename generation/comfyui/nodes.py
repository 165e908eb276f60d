"""A graph of ComfyUI in its API format while it is put together: nodes by number."""

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

Graph = dict[str, dict[str, Any]]
Link = list[str | int]
"""An output of a node: its number, and which of its outputs."""
Stage = Literal["loading", "enlarging", "encoding", "denoising", "hires", "decoding"]
"""As `Progress` has them."""

STAGES: Final[Mapping[str, Stage]] = {
    "CLIPTextEncode": "encoding",
    "VAEEncode": "encoding",
    "InpaintModelConditioning": "encoding",
    "VAEDecode": "decoding",
}
"""What ComfyUI does at a node; at others it loads, or what it did before."""


class NodeWork(NamedTuple):
    """What takes a node long, and how many of a job's steps that is."""

    stage: Stage
    steps: float


class ToldGraph(NamedTuple):
    """A graph, and what of it takes long, by the node's number, in order."""

    graph: Graph
    work: Mapping[str, NodeWork]


class Nodes:
    """Those of one graph."""

    def __init__(self) -> None:
        self.graph: Graph = {}
        self.work: dict[str, NodeWork] = {}

    def add(self, node: str, **inputs: Any) -> str:
        """The number of a new node."""
        number = str(len(self.graph) + 1)
        self.graph[number] = {"class_type": node, "inputs": inputs}
        return number

    def link(self, node: str, **inputs: Any) -> Link:
        """The first output of a new node."""
        return [self.add(node, **inputs), 0]

    @property
    def told(self) -> ToldGraph:
        """The graph as it is."""
        return ToldGraph(self.graph, self.work)
