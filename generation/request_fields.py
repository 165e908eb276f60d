"""The types of a request's fields and their bounds; how a field that people set is declared."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from generation.refusal import Refused

SEED_MAX: Final = 2**53 - 1
"""The largest integer that Discord and JSON carry exactly."""
RANDOM_SEED_MAX: Final = 2**32 - 1
"""Seeds drawn for people stay short enough to type, as A1111's do."""
RANDOM_SEED: Final = -1
"""What people write for a seed that is drawn for them, as in A1111 and ComfyUI."""
PROMPT_MAX: Final = 4000
NAME_MAX: Final = 500
"""Of a model or a part; a file's name may have 255 characters, and the folder's stand before it."""
MASK_WORDS_MAX: Final = 300
LORAS_MAX: Final = 8
CONTROLS_MAX: Final = 3
IMAGE_PROMPTS_MAX: Final = 3
PICTURES_MAX: Final = 4
"""Of one image prompt."""
LINEAGE_MAX: Final = 64
"""Variations of variations that one picture can come from."""
SIDE_MIN: Final = 64
SIDE_MAX: Final = 2048
ENLARGED_SIDE_MAX: Final = 4096
"""Of a picture that an upscaler has made larger."""
SIDE_STEP: Final = 8
"""Latents are an eighth of the picture's size in every family."""

FURTHER_PICTURES: Final = ("second_picture", "third_picture", "fourth_picture")
"""Fields of what a model that edits several pictures is shown beside the first."""
IMAGE_GUIDANCE: Final = 1.5
"""How closely an edit by InstructPix2Pix keeps to the picture where nobody says, as in A1111."""
ControlMode = Literal["balanced", "prompt", "control"]
"""What goes before where prompt and control picture disagree, as A1111 has it."""
ControlFit = Literal["crop", "stretch", "fill"]
"""How a control picture of another shape is laid over what is drawn, as A1111 has it: cropped and
resized, just resized, or resized and filled up."""

ImageKind = Literal["whole", "style", "composition"]
"""What of an image prompt is drawn: all of it, or by SDXL's blocks for it one side alone."""
ImageJoin = Literal["concat", "average"]
"""Several pictures as one behind the other, or as the mean of what is seen in them."""

Conventions = Literal["a1111", "comfyui"]
"""Whose way of drawing: noise, timesteps, emphasis and image to image differ between the two."""
FileFormat = Literal["png", "webp", "jpeg"]
"""Of the file that a picture becomes."""
FaceChoice = Literal["none", "all", "largest", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
"""Which faces of a picture are restored; those that have numbers are counted from the left."""
FIDELITY: Final = 0.5
"""CodeFormer's weight, as A1111 has it where nobody says."""

MaskMode = Literal["masked", "not masked"]
"""What of a mask is drawn anew: its white or its black."""
MaskedContent = Literal["original", "fill", "latent noise", "latent nothing"]
"""What the masked part begins with, in A1111's words."""
Mode = Literal["draft", "full", "hd"]
"""How much work is put into a picture: few steps, the usual ones, or a hires pass besides."""
Switch = Literal["off", "on"]
InpaintArea = Literal["whole picture", "only masked"]
"""What of the picture is drawn over: all of it, or what lies around the mask, as large."""

MASKED: Final = frozenset(
    (
        "mask",
        "mask_blur",
        "mask_mode",
        "masked_content",
        "inpaint_area",
        "mask_padding",
        "differential",
        "mask_words",
        "mask_threshold",
        "mask_growth",
        "mask_model",
        "extension",
    )
)
"""Fields that say which part of a start picture is drawn anew, and how."""

PictureHash = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
"""SHA-256 of the file of a picture in the store."""

# The bounds of what a request holds; whatever repeats one of its fields is declared with these.
Prompt = Annotated[str, Meta(max_length=PROMPT_MAX)]
Name = Annotated[str, Meta(max_length=NAME_MAX)]
Side = Annotated[int, Meta(ge=SIDE_MIN, le=SIDE_MAX, multiple_of=SIDE_STEP)]
EnlargedSide = Annotated[int, Meta(ge=1, le=ENLARGED_SIDE_MAX)]
NewSide = Annotated[int, Meta(ge=0, le=ENLARGED_SIDE_MAX)]
Pixels = Annotated[int, Meta(ge=SIDE_MIN**2, le=SIDE_MAX**2)]
Steps = Annotated[int, Meta(ge=1, le=150)]
Guidance = Annotated[float, Meta(ge=0, le=30)]
Seed = Annotated[int, Meta(ge=0, le=SEED_MAX)]
Count = Annotated[int, Meta(ge=1, le=10)]
ClipSkip = Annotated[int, Meta(ge=1, le=12)]
Strength = Annotated[float, Meta(ge=0, le=1)]
LoraWeight = Annotated[float, Meta(ge=-4, le=4)]
ControlScale = Annotated[float, Meta(ge=0, le=2)]
Threshold = Annotated[float, Meta(ge=0, le=255)]
ImageWeight = Annotated[float, Meta(ge=-1, le=3)]
ImageShare = Annotated[float, Meta(ge=0, le=100)]
MaskBlur = Annotated[int, Meta(ge=0, le=64)]
MaskPadding = Annotated[int, Meta(ge=0, le=256)]
MaskWords = Annotated[str, Meta(max_length=MASK_WORDS_MAX)]
MaskGrowth = Annotated[int, Meta(ge=0, le=256)]
Quality = Annotated[int, Meta(ge=1, le=100)]
HiresSize = Annotated[str, Meta(max_length=20)]
HiresSteps = Annotated[int, Meta(ge=0, le=150)]
HiresTile = Annotated[int, Meta(ge=0, le=SIDE_MAX, multiple_of=SIDE_STEP)]


NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


def option(
    help_: str,
    *,
    name: str = "",
    choices_from: str = "",
    picture: bool = False,
    offered: bool = True,
    slash: bool = True,
    random: bool = False,
    also: Mapping[str, str] = NOTHING,
    needs: str = "",
    alone: str = "",
    **bounds: Any,
) -> Meta:
    """The declaration of a field that people can set; its option has the field's name or `name`.

    One that is not `offered` is set by actions on finished pictures only. One that is no `slash`
    option, of which Discord takes 25, is written: as a flag, a line or a field of a preset. One
    that may be `random` is drawn where people write RANDOM_SEED. One that `needs` another option
    means nothing without it, and can't be given then. `also` are other words for those that it may
    be, and `alone` is what its flag means without a value.
    """
    extra = {
        "option": name,
        "choices_from": choices_from,
        "picture": picture,
        "offered": offered,
        "slash": slash,
        "random": random,
        "also": dict(also),
        "needs": needs,
        "alone": alone,
    }
    return Meta(description=help_, extra=extra, **bounds)


def check_text(option: str, text: str) -> None:
    """Raise Refused for a text that no database, file or tokenizer takes.

    Half an emoji (a lone surrogate) is what cutting a text leaves, and what Python makes of bytes
    that are no UTF-8.
    """
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise Refused("text_unusable", option=option)
