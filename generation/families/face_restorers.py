"""Networks that restore faces, by the tensors that they are known by.

GFPGAN 1.3 and 1.4 (its "clean" architecture), CodeFormer and RestoreFormer: each is given a face of
512 pixels that lies as those of FFHQ do.
"""

from typing import Final

from generation.families.layout import Layout
from generation.models import ModelKind

GFPGAN: Final = "GFPGAN"
CODEFORMER: Final = "CodeFormer"
RESTOREFORMER: Final = "RestoreFormer"
ARCHITECTURES: Final = (CODEFORMER, GFPGAN, RESTOREFORMER)
"""As A1111 calls them, and in its order where nobody says which."""


def _restorer(variant: str, *needs: str) -> Layout:
    return Layout(kind=ModelKind.FACE_RESTORER, variant=variant, needs=needs)


FACE_RESTORERS: Final = (
    _restorer(GFPGAN, "^toRGB.0.weight$", "^stylegan_decoder.style_mlp.1.weight$"),
    _restorer(
        CODEFORMER,
        *("^position_emb$", "^feat_emb.weight$", "^idx_pred_layer.1.weight$"),
        *("^quantize.embedding.weight$", "^fuse_convs_dict.32.encode_enc.conv1.weight$"),
    ),
    _restorer(
        RESTOREFORMER,
        *("^quantize.embedding.weight$", "^quant_conv.weight$", "^encoder.conv_in.weight$"),
        *("^encoder.down.0.block.0.norm1.weight$", "^decoder.conv_out.weight$"),
    ),
)
