"""A graph as ComfyUI runs it (its API format): nodes by their numbers, inputs that are values or
links to what another node gives.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from generation.refusal import Refused

NODES_MAX: Final = 5000
STEPS_MAX: Final = 20_000
"""Links that are followed in one graph; cycles and tangles have more."""
DEPTH_MAX: Final = 100
"""Links that are followed one behind the other."""
KIND_MAX: Final = 80


class NodeLink(msgspec.Struct, frozen=True):
    """What a node gives at one of its outputs."""

    node: str
    slot: int


class GraphNode(msgspec.Struct, frozen=True):
    """A node: its class, and its inputs, each a value of JSON or a NodeLink."""

    id: str
    kind: str
    inputs: dict[str, Any]

    def link(self, *names: str) -> NodeLink | None:
        """The first of these inputs that is a link."""
        found = (self.inputs.get(name) for name in names)
        return next((each for each in found if isinstance(each, NodeLink)), None)

    def links(self) -> Iterator[tuple[str, NodeLink]]:
        """All inputs that are links."""
        for name, value in self.inputs.items():
            if isinstance(value, NodeLink):
                yield name, value


class NodeGraph:
    """Nodes, and how many links of them have been followed."""

    def __init__(self, nodes: Mapping[str, GraphNode]) -> None:
        self.nodes = nodes
        self._steps = 0

    def at(self, link: NodeLink, depth: int) -> GraphNode | None:
        """The node that a link leads to. Raises Refused for what is tangled."""
        self._steps += 1
        if self._steps > STEPS_MAX or depth > DEPTH_MAX:
            raise Refused("info_tangled")
        return self.nodes.get(link.node)


def of_api(table: Mapping[str, Any]) -> NodeGraph | None:
    """The graph of a table in the API format; None where it is none. Raises Refused."""
    nodes: dict[str, GraphNode] = {}
    for key, value in table.items():
        if not isinstance(value, dict):
            continue
        kind, inputs = value.get("class_type"), value.get("inputs")
        if isinstance(kind, str) and isinstance(inputs, dict):
            read = {name: _input(each) for name, each in inputs.items()}
            nodes[key] = GraphNode(key, kind[:KIND_MAX], read)
    if len(nodes) > NODES_MAX:
        raise Refused("data_too_long")
    return NodeGraph(nodes) if nodes else None


def _input(value: Any) -> Any:
    if not isinstance(value, list) or len(value) != 2 or not isinstance(value[1], int):
        return value
    return NodeLink(str(value[0]), value[1]) if isinstance(value[0], str | int) else value
