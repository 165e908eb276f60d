"""What an input of a node is in the end: a value, whichever nodes it comes through, or the node
that makes what it takes.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from generation.info import json_text
from generation.info.comfyui.graph import GraphNode, NodeGraph, NodeLink

Scalar = str | int | float | bool

OF_VALUES: Final = (
    *("value", "text", "string", "seed", "noise_seed", "int", "float", "number", "prompt"),
    *("populated_text", "wildcard_text", "a", "text_0"),
)
"""Names of the input that a node gives on, the likeliest first, compared without their case."""
TEXTS: Final = ("text", "string", "str", "prompt", "line")
"""How inputs of nodes begin that join texts."""
TEXT_MAX: Final = 20_000
CONTEXT_SLOTS: Final = (
    *("base_ctx", "model", "clip", "vae", "positive", "negative", "latent", "images", "seed"),
    *("steps", "step_refiner", "cfg", "ckpt_name", "sampler", "scheduler"),
)
"""What rgthree's contexts give, in order."""


class GraphValues:
    """Follows the links of one graph."""

    def __init__(self, graph: NodeGraph) -> None:
        self.graph = graph

    def of(self, node: GraphNode, *names: str, depth: int = 0) -> Scalar | None:
        """The value of the first of these inputs that a node has, through whatever links."""
        for name in names:
            if name in node.inputs:
                found = self._value(node.inputs[name], depth)
                if found is not None:
                    return found
        return None

    def number(self, node: GraphNode, *names: str) -> int | float | None:
        """The same, where it is a finite number."""
        return json_text.number(self.of(node, *names))

    def text(self, node: GraphNode, *names: str) -> str:
        """The same as a text; "" where it is none."""
        found = self.of(node, *names)
        return "" if found is None or isinstance(found, bool) else str(found)[:TEXT_MAX]

    def source(self, link: NodeLink | None, depth: int = 0) -> tuple[GraphNode, int] | None:
        """The node that makes what a link takes, and its output: reroutes, switches, contexts and
        what is bypassed only hand on.
        """
        while link is not None:
            node = self.graph.at(link, depth)
            if node is None:
                return None
            depth += 1
            onward = self._onward(node, link.slot, depth)
            if onward is None:
                return node, link.slot
            link = onward if isinstance(onward, NodeLink) else None
        return None

    def _onward(self, node: GraphNode, slot: int, depth: int) -> NodeLink | bool | None:
        """Where a node that only hands on has it from; False where that is nowhere, None for a node
        that makes it.
        """
        kind = node.kind
        if kind in ("Bypassed", "Subgraph"):
            return node.link(f"out{slot}") or False
        if "reroute" in kind.casefold():
            return next((link for _, link in node.links()), None) or False
        if kind.startswith("Context") and "(rgthree)" in kind:
            return self._in_context(node, slot)
        if kind == "GetNode":
            return self._set_node(node) or False
        if kind == "SetNode":
            return next((link for _, link in node.links()), None) or False
        if "switch" in kind.casefold() or kind == "ImpactConditionalBranch":
            return self._switched(node, depth) or False
        return None

    def _in_context(self, node: GraphNode, slot: int) -> NodeLink | bool:
        name = CONTEXT_SLOTS[slot] if 0 <= slot < len(CONTEXT_SLOTS) else ""
        if "Switch" in node.kind:
            return next((link for _, link in sorted(node.links())), None) or False
        own = node.link(name)
        if own is not None:
            return own
        base = node.link("base_ctx")
        return NodeLink(base.node, slot) if base is not None else False

    def _set_node(self, node: GraphNode) -> NodeLink | None:
        name = node.inputs.get("name")
        for other in self.graph.nodes.values():
            if other.kind == "SetNode" and other.inputs.get("name") == name:
                return next((link for _, link in other.links()), None)
        return None

    def _switched(self, node: GraphNode, depth: int) -> NodeLink | None:
        chosen = self.of(node, "select", "index", "switch", "cond", "boolean", "input", depth=depth)
        links = dict(node.links())
        if isinstance(chosen, bool):
            pairs = (("on_true", "on_false"), ("tt_value", "ff_value"), ("true", "false"))
            names = [pair[0 if chosen else 1] for pair in pairs]
            return next((links[name] for name in names if name in links), None)
        number = json_text.whole(chosen)
        if number is not None:
            for name in (f"input{number}", f"value{number}", f"input_{number}", f"any_{number:02}"):
                if name in links:
                    return links[name]
        options = [name for name in sorted(links) if name not in ("select", "index")]
        return links[options[0]] if options else None

    def _value(self, value: Any, depth: int) -> Scalar | None:
        if isinstance(value, NodeLink):
            found = self.source(value, depth)
            return None if found is None else self._given(*found, depth + 1)
        if isinstance(value, dict):
            # pysssss keeps names with their pictures
            value = value.get("content")
        return value if isinstance(value, str | int | float) else None

    def _given(self, node: GraphNode, slot: int, depth: int) -> Scalar | None:
        """What a node of values gives."""
        kind = node.kind.casefold()
        if any(word in kind for word in ("concat", "join", "stringfunction", "append")):
            return self._joined(node, depth)
        by_case = {name.casefold(): name for name in node.inputs}
        names = [by_case[name] for name in OF_VALUES if name in by_case]
        if len(node.inputs) == 1 and not names:
            names = list(node.inputs)
        found = self.of(node, *names, depth=depth)
        if found is None and "loader" in kind and slot > 0:
            return None
        return found

    def _joined(self, node: GraphNode, depth: int) -> str:
        between = node.inputs.get("delimiter", node.inputs.get("separator", ""))
        between = between if isinstance(between, str) else ""
        if "stringfunction" in node.kind.casefold():
            between = ", " if node.inputs.get("tidy_tags") == "yes" else ""
        parts = []
        for name in _in_order(node.inputs):
            found = self._value(node.inputs[name], depth)
            if found is not None and not isinstance(found, bool) and str(found):
                parts.append(str(found)[:TEXT_MAX])
        return between.replace("\\n", "\n").join(parts)[:TEXT_MAX]


def _in_order(inputs: Mapping[str, Any]) -> Iterator[str]:
    names = [
        name
        for name in inputs
        if name.casefold().startswith(TEXTS) and not name.casefold().startswith("string_delim")
    ]
    yield from sorted(names)
