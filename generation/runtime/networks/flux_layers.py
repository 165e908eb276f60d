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
        for side, kind, more in (("img", "to_{}", ""), ("txt", "add_{}_proj", "_context")):
            attention = tuple(f"{theirs}.attn.{kind.format(part)}" for part in "qkv")
            out = "to_out.0" if side == "img" else "to_add_out"
            norm = "norm" if side == "img" else "norm_added"
            for named in (f"{side}_attn.qkv", f"processor.qkv_lora{XLABS[side]}"):
                yield f"{ours}.{named}", Layer(attention, (1, 1, 1))
            for named in (f"{side}_attn.proj", f"processor.proj_lora{XLABS[side]}"):
                yield f"{ours}.{named}", Layer((f"{theirs}.attn.{out}",))
            yield f"{ours}.{side}_attn.norm.query_norm", Layer((f"{theirs}.attn.{norm}_q",))
            yield f"{ours}.{side}_attn.norm.key_norm", Layer((f"{theirs}.attn.{norm}_k",))
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
