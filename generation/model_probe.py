"""What a model file is, told by the names and shapes of its tensors, whatever it is called."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from generation import carried
from generation.families import (
    DESCRIBED,
    LAYOUTS,
    adapters,
    encoders,
    image_prompts,
    recognised,
)
from generation.families.autoencoders import MADE_WITH
from generation.families.control import FOLLOWED
from generation.families.family import ALIKE
from generation.families.few_steps import LCM, READS_GUIDANCE
from generation.families.layout import Layout, Shapes, TensorNames, told_missing
from generation.families.tensors import HARMLESS, HARMLESS_ENDS
from generation.models import UNKNOWN, UNKNOWN_FITS, ModelKind

CONTEXT_FAMILIES: Final = {
    family.context_width: name for name, family in DESCRIBED.items() if family.context_width
}
"""Families by the width of the text embedding that the denoiser attends to."""
VARIANTS: Final = {0: "", 4: "", 5: "depth", 8: "instruct-pix2pix", 9: "inpainting"}
"""Of Stable Diffusion's checkpoints, by the channels that the denoiser takes."""
MARKED: Final = ("sdxl", "sdxl-refiner")
"""Families whose models say when they predict v."""
ENCODERS: Final = ("^encoder.", "^first_stage_model.encoder.", "^vae.encoder.")
"""How the names begin of the half of a VAE that reads a picture."""
TOKEN_WIDTHS: Final = {768: "sd1", 1024: "sd2", 1280: "sdxl"}
"""Families by the width of a word of their text encoder."""
WORDS_MAX: Final = 200
"""Vectors of an embedding; more is something else."""
TRIGGER_MAX: Final = 40
"""Characters; what is longer is a caption and no word."""
TRIGGERS_MAX: Final = 20
"""Of a phrase that lists them."""
TAGS_MAX: Final = 4 * 2**20
"""Characters of kohya's counts; more would hold everything else up."""


class TensorContents(msgspec.Struct, frozen=True, kw_only=True):
    """What the tensors of a single file tell, whatever its name and its metadata say."""

    kind: ModelKind | None = None
    """None where they are of no kind that can be used."""
    what: str = ""
    """What it is where it can't be used and that is known, as the end of "it is …"."""
    family: str = ""
    """A key of FAMILIES or RECOGNISED; "" where nothing tells it."""
    certain: bool = True
    """Whether the metadata have nothing to add about the family."""
    variant: str = ""
    context_width: int = 0
    input_channels: int = 0
    lacking: str = ""
    """Why a checkpoint or VAE can't draw; "" when nothing is amiss."""
    unused: tuple[str, ...] = ()
    """Tensors that nothing reads, where all that should be there is known."""
    carries: tuple[str, ...] = ()
    """Parts that lie in a checkpoint beside its denoiser, as `ModelFile.carries` has them."""
    words: tuple[str, ...] = ()
    """Embeddings that a LoRA brings with it."""
    v_prediction: bool = False
    zero_terminal_snr: bool = False


def contents_of(shapes: Shapes) -> TensorContents:
    """What tensors of these names and shapes are for.

    The empty tensors `v_pred` and `ztsnr` are the convention of NoobAI and its descendants.
    """
    names = TensorNames(shapes)
    prompted = image_prompts.contents(names)
    if prompted is not None:
        return TensorContents(
            kind=prompted.kind,
            what=prompted.what,
            family=prompted.family,
            variant=prompted.variant,
            context_width=prompted.width,
            input_channels=prompted.reads,
        )
    refused = next((one for one in recognised.CONTROL if one.matches(names)), None)
    if refused is not None:
        return TensorContents(what=refused.what)
    for algorithm in adapters.ALGORITHMS:
        if names.has_any(algorithm.marks):
            found = _adapter(algorithm.variant, names)
            if found is not None:
                return found
    embedding = _embedding(shapes)
    if embedding is not None:
        return embedding
    layout = next((one for one in LAYOUTS if one.matches(names)), None)
    if layout is None:
        return TensorContents()
    if layout.kind is None:
        return TensorContents(what=layout.what)
    return _network(layout, names)


def family_of(contents: TensorContents, metadata: Mapping[str, str], beside: str = "") -> str:
    """The family of a single file, a key of FAMILIES or RECOGNISED; "" when nothing tells it.

    `beside` is what a file of Civitai's beside it says it was trained on, such as "SDXL 1.0".
    """
    said = [metadata.get(key, "") for key in ("modelspec.architecture", "ss_base_model_version")]
    said.append(beside)
    if contents.kind is ModelKind.LORA:
        for other in adapters.SAME_LAYERS.get(contents.family, ()):
            if any(text.lower().startswith(adapters.BASES[other]) for text in said):
                return other
    if contents.certain:
        return contents.family
    stable = contents.family in (UNKNOWN, *UNKNOWN_FITS)
    for base in (text.lower() for text in said if text):
        for family, begins in adapters.BASES.items():
            if not base.startswith(begins):
                continue
            # what the tensors are of no word changes
            if contents.kind is ModelKind.VAE:
                vae = MADE_WITH.get(family, family)
                if vae in ALIKE.get(contents.family, ()):
                    return vae
            elif stable == (family in UNKNOWN_FITS):
                return family
    if contents.kind is ModelKind.VAE:
        return contents.family
    return "sd2" if stable and metadata.get("ss_v2") == "True" else contents.family


def prediction(contents: TensorContents, metadata: Mapping[str, str]) -> bool | None:
    """Whether a single file predicts v; None where neither its tensors nor its metadata say.

    `modelspec.prediction_type` is that of Stability AI's ModelSpec. A checkpoint of SDXL's make
    without a mark predicts epsilon, for A1111 and ComfyUI alike.
    """
    if contents.v_prediction:
        return True
    said = metadata.get("modelspec.prediction_type", "")
    if said:
        return said in ("v", "v_prediction")
    return False if contents.family in MARKED else None


def _network(layout: Layout, names: TensorNames) -> TensorContents:
    """A checkpoint, a ControlNet, a VAE or an upscaler."""
    checkpoint = layout.kind is ModelKind.CHECKPOINT
    channels = names.side("^input_blocks.0.0.weight$", 1) or names.side("^conv_in.weight$", 1)
    variant = layout.variant
    if checkpoint and layout.family in DESCRIBED and not variant:
        variant = VARIANTS.get(channels, f"{channels} channels")
        variant = LCM if names.has_any(f"^{name}$" for name in READS_GUIDANCE) else variant
    if layout.kind is ModelKind.TEXT_ENCODER:
        eyes = encoders.ENCODERS[layout.family].eyes
        variant = encoders.BLIND if eyes and not names.has(eyes) else variant
    parted = checkpoint and layout.family not in UNKNOWN_FITS
    carries = carried.carried(names) if parted else ()
    return TensorContents(
        kind=layout.kind,
        family=layout.family,
        certain=layout.kind is not ModelKind.VAE or layout.family not in ALIKE,
        variant=variant,
        context_width=names.side(".attn2.to_k.weight$", 1),
        input_channels=channels,
        lacking=_lacking(layout, names, carries),
        carries=carries,
        unused=_unused(layout, names) if layout.kind is not ModelKind.TEXT_ENCODER else (),
        v_prediction=names.has("^v_pred$"),
        zero_terminal_snr=names.has("^ztsnr$"),
    )


def _lacking(layout: Layout, names: TensorNames, carries: tuple[str, ...]) -> str:
    """Which part is not there, or which of its tensors."""
    for part in layout.parts:
        why = told_missing(part, names)
        if why:
            return why
    gone = [
        part.title
        for part in layout.parts
        # one that has no prefix is there all the same
        if part.missing(names) and part.title != "denoiser"
    ]
    if gone:
        return f"it has no {' and no '.join(gone)}"
    if layout.kind is ModelKind.VAE and not names.has_any(ENCODERS):
        return "it has no encoder"
    return carried.lacking(names, carries)


def _unused(layout: Layout, names: TensorNames) -> tuple[str, ...]:
    """What no picture is made of, in a checkpoint that is whole; () where that can't be told."""
    wholes = [part.whole(names) for part in layout.parts]
    if not wholes or not all(wholes):
        return ()
    known = frozenset[str]().union(*wholes)
    return tuple(
        name
        for name in names.shapes
        if name not in known and not name.startswith(HARMLESS) and not name.endswith(HARMLESS_ENDS)
    )


def _adapter(variant: str, names: TensorNames) -> TensorContents | None:
    """A LoRA or one of its kin; None where no layer of a network of pictures is named."""
    for what, marks in adapters.NOT_FOR_PICTURES:
        if names.has_any(marks):
            return TensorContents(what=what)
    kind = ModelKind.LORA
    unet = any(piece in names.text for piece in adapters.UNET)
    sign = None if unet else next((one for one in adapters.SIGNS if _shows(one, names)), None)
    if sign is not None:
        if sign.family == adapters.WIDENED.family and _shows(adapters.WIDENED, names):
            variant = FOLLOWED
        return TensorContents(kind=kind, family=sign.family, variant=variant)
    for family, pieces in adapters.OTHERS:
        if any(piece in names.text for piece in pieces):
            if family == adapters.WIDENED.family and _shows(adapters.WIDENED, names):
                variant = FOLLOWED
            return TensorContents(kind=kind, family=family, certain=False, variant=variant)
    if adapters.SD_LAYERS.search(names.text) is None:
        return None
    width = _context_width(names)
    family = CONTEXT_FAMILIES.get(width, "")
    certain = bool(family)
    if not family and adapters.XL_NAMES.search(names.text):
        family, certain = "sdxl", True
    if not family:
        projection = names.search(adapters.LINEAR)
        if projection and adapters.FOUR_LEVELS.search(names.text):
            family = "sd2" if len(projection) == 2 else "sd1"
    words = {name.split(".")[1] for name in names.shapes if name.startswith(adapters.EMBEDDINGS)}
    return TensorContents(
        kind=kind,
        family=family or UNKNOWN,
        certain=certain,
        variant=variant,
        context_width=width,
        words=tuple(sorted(words)),
    )


def _shows(sign: adapters.Sign, names: TensorNames) -> bool:
    shape = names.search(sign.layers)
    if shape is None:
        return False
    return not sign.side or (len(shape) > sign.axis and shape[sign.axis] == sign.side)


def _context_width(names: TensorNames) -> int:
    """Of the text embedding that the layers which a LoRA changes attend to; 0 where none does."""
    for pattern in (adapters.CONTEXT, adapters.TEXT):
        shape = names.search(pattern)
        if shape is not None and len(shape) > 1:
            return shape[1]
    layer = adapters.CONTEXT_KRON.search(names.text)
    if layer is None:
        return 0
    # LoKr: the layer is a Kronecker product, whose sides are products of the factors' sides
    begin = names.text.rfind("\n", 0, layer.start()) + 1
    name = names.text[begin : layer.end(1)]
    sides = [
        next(
            (
                shape[1]
                for end in (f"lokr_w{number}", f"lokr_w{number}_b")
                if len(shape := names.shapes.get(f"{name}.{end}", ())) > 1
            ),
            0,
        )
        for number in (1, 2)
    ]
    return sides[0] * sides[1]


def _embedding(shapes: Shapes) -> TensorContents | None:
    """A word that was learned: of A1111, of SDXL's two encoders, or of diffusers."""
    kind = ModelKind.EMBEDDING
    if "clip_l" in shapes or "clip_g" in shapes:
        if not all(len(shape) == 2 for shape in shapes.values()):
            return None
        family = "sdxl" if "clip_g" in shapes else "sd1"
        width = shapes["clip_l"][1] if family == "sd1" else 0
        family = "sd3/flux" if "t5xxl" in shapes else family
        return TensorContents(kind=kind, family=family, context_width=width)
    name, shape = next(iter(shapes.items()))
    named = name in ("emb_params", "string_to_param.*")
    if not named and (len(shapes) > 1 or "." in name or len(shape) not in (1, 2)):
        return None
    shape = shapes.get("emb_params", shape)
    width = shape[-1] if shape else 0
    vectors = shape[0] if len(shape) == 2 else 1
    if vectors > WORDS_MAX or (not named and width not in TOKEN_WIDTHS):
        return None
    return TensorContents(kind=kind, family=TOKEN_WIDTHS.get(width, UNKNOWN), context_width=width)


def trigger_words(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The words that call for a LoRA, as its trainer noted them: modelspec, else kohya's tags."""
    phrase = metadata.get("modelspec.trigger_phrase", "")[:TAGS_MAX]
    if phrase:
        words = (word.strip() for word in phrase.split(","))
        return tuple(word for word in words if word)[:TRIGGERS_MAX]
    counts: dict[str, int] = {}
    for tags in _tag_frequency(metadata).values():
        for tag, count in tags.items():
            if isinstance(count, int):
                counts[tag.strip()] = counts.get(tag.strip(), 0) + count
    ranked = sorted(counts, key=lambda tag: (-counts[tag], tag))
    # a trigger stands in every caption; what stands in fewer is what the pictures happened to show,
    # and what stands in one is a sentence that describes it
    most = counts[ranked[0]] if ranked else 0
    found = (tag for tag in ranked if counts[tag] == most > 1 and 0 < len(tag) <= TRIGGER_MAX)
    return tuple(found)[:5]


def _tag_frequency(metadata: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    text = metadata.get("ss_tag_frequency", "")
    if not text or len(text) > TAGS_MAX:
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, dict[str, Any]])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}
