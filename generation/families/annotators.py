"""Networks that see depths and edges in pictures, by the tensors that they are told by."""

from typing import Final

from generation.families.layout import Layout
from generation.models import ModelKind


def _annotator(sees: str, family: str, *needs: str) -> Layout:
    return Layout(kind=ModelKind.ANNOTATOR, family=family, variant=sees, needs=needs)


ANNOTATORS: Final = (
    # the authors' names, as ComfyUI's files have them, and transformers'
    _annotator(
        "depth",
        "depth-anything",
        *("^pretrained.blocks.0.attn.qkv.weight$", "^depth_head.scratch.output_conv1.weight$"),
    ),
    _annotator(
        "depth",
        "depth-anything",
        *("^backbone.encoder.layer.0.attention.attention.query.weight$",),
        *("^neck.reassemble_stage.layers.0.projection.weight$", "^head.conv1.weight$"),
    ),
    _annotator(
        "softedge",
        "hed",
        *("^norm$", "^block1.convs.0.weight$", "^block5.projection.weight$"),
    ),
    _annotator(
        "lineart",
        "informative-drawings",
        *("^model0.1.weight$", "^model1.3.weight$", "^model2.0.conv_block.1.weight$"),
        "^model4.1.weight$",
    ),
)
