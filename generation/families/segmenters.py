"""Networks that find in a picture what words name, by the tensors that they are told by."""

from typing import Final

from generation.families.layout import Layout
from generation.models import ModelKind

CLIPSEG: Final = "clipseg"

SEGMENTERS: Final = (
    # as transformers has it, which is how it was published for everybody but its authors
    Layout(
        kind=ModelKind.SEGMENTER,
        family=CLIPSEG,
        needs=(
            *("^clip.text_model.embeddings.token_embedding.weight$", "^clip.text_projection."),
            *("^clip.vision_model.embeddings.patch_embedding.weight$", "^decoder.film_mul.weight$"),
            *("^decoder.reduces.0.weight$", "^decoder.transposed_convolution."),
        ),
    ),
    Layout(
        kind=None,
        what="the decoder of a CLIPSeg without its CLIP, as its authors publish it; the file that"
        " finds things by words is model.safetensors of CIDAS/clipseg-rd64-refined",
        needs=("^film_mul.weight$", "^film_add.weight$", "^reduces.0.weight$"),
    ),
)
