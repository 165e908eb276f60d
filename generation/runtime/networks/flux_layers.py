"""The layers of Flux.1 and of its ControlNets by their names in the original code.

Source: Black Forest Labs, github.com/black-forest-labs/flux (`src/flux/model.py`); diffusers has
three layers where it has one of three times the outputs.
"""

from collections.abc import Iterator
from typing import Final

from generation.runtime.networks.architecture import Layer

MLP: Final = 4
"""How many times as wide as its tokens its feed-forward layers are."""
XLABS: Final = {"img": 1, "txt": 2}
"""By which number XLabs' LoRAs (github.com/XLabs-AI/x-flux) know the two streams of a block."""
SIDES: Final = {"img": "", "txt": "_context"}
"""The two streams of a double block, and how diffusers marks the layers of each."""


def attention_of(side: str, theirs: str) -> dict[str, Layer]:
    """The layers of a stream's attention, by their original names in it; `theirs` is diffusers'
    module of both. Also Flux.2's.
    """
    kind, out, norm = {
        "img": ("to_{}", "to_out.0", "norm"),
        "txt": ("add_{}_proj", "to_add_out", "norm_added"),
    }[side]
    return {
        "qkv": Layer(tuple(f"{theirs}.{kind.format(part)}" for part in "qkv"), (1, 1, 1)),
        "proj": Layer((f"{theirs}.{out}",)),
        "norm.query_norm": Layer((f"{theirs}.{norm}_q",)),
        "norm.key_norm": Layer((f"{theirs}.{norm}_k",)),
    }


def layers_of(doubles: int, singles: int) -> Iterator[tuple[str, Layer]]:
    """The original names of the layers, each with diffusers'."""
    yield "img_in", Layer(("x_embedder",))
    yield "txt_in", Layer(("context_embedder",))
    yield "final_layer.linear", Layer(("proj_out",))
    yield "final_layer.adaLN_modulation.1", Layer(("norm_out.linear",), turned=True)
    for ours, theirs in (("time", "timestep"), ("vector", "text"), ("guidance", "guidance")):
        for number, end in enumerate(("in_layer", "out_layer"), 1):
            module = f"time_text_embed.{theirs}_embedder.linear_{number}"
            yield f"{ours}_in.{end}", Layer((module,))
    for block in range(doubles):
        ours, theirs = f"double_blocks.{block}", f"transformer_blocks.{block}"
        for side, more in SIDES.items():
            attention = attention_of(side, f"{theirs}.attn")
            for name, layer in attention.items():
                yield f"{ours}.{side}_attn.{name}", layer
            for name in ("qkv", "proj"):
                yield f"{ours}.processor.{name}_lora{XLABS[side]}", attention[name]
            yield f"{ours}.{side}_mod.lin", Layer((f"{theirs}.norm1{more}.linear",))
            yield f"{ours}.{side}_mlp.0", Layer((f"{theirs}.ff{more}.net.0.proj",))
            yield f"{ours}.{side}_mlp.2", Layer((f"{theirs}.ff{more}.net.2",))
    for block in range(singles):
        ours, theirs = f"single_blocks.{block}", f"single_transformer_blocks.{block}"
        inner = (*(f"{theirs}.attn.to_{part}" for part in "qkv"), f"{theirs}.proj_mlp")
        yield f"{ours}.linear1", Layer(inner, (1, 1, 1, MLP))
        yield f"{ours}.processor.qkv", Layer(inner[:3], (1, 1, 1))
        for named in ("linear2", "processor.proj"):
            yield f"{ours}.{named}", Layer((f"{theirs}.proj_out",))
        yield f"{ours}.modulation.lin", Layer((f"{theirs}.norm.linear",))
        yield f"{ours}.norm.query_norm", Layer((f"{theirs}.attn.norm_q",))
        yield f"{ours}.norm.key_norm", Layer((f"{theirs}.attn.norm_k",))
