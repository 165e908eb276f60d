"""What is asked for: one picture request, frozen, each field with its help and bounds.

The slash options, the command line, the database column and the pipe to the worker process all
use these declarations. `Meta.description` is the help that people read; `Meta.extra` says how an
option is offered: its name, the list that its values come from, whether it is an uploaded picture.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from generation import hires_sizes
from generation.refusal import Refused
from generation.samplers import UNIFORM

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


class LoraUse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A LoRA of the catalogue and how strongly it acts."""

    name: Annotated[
        Name, option("a LoRA that changes style or subject", name="lora", choices_from="loras")
    ]
    weight: Annotated[
        LoraWeight,
        option("how strongly the LoRA acts; 1 is as trained", name="lora_weight"),
    ] = 1.0
    te_weight: Annotated[
        LoraWeight | None,
        option("how strongly it acts on the text encoder, where that differs", offered=False),
    ] = None
    """None where it is the same as `weight`, which then is that of the denoiser alone."""


class ControlUse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A ControlNet of the catalogue and the picture that it follows."""

    name: Annotated[
        Name,
        option(
            "the ControlNet that reads the control picture",
            name="controlnet",
            choices_from="controlnets",
        ),
    ]
    picture: Annotated[
        PictureHash,
        option("a picture whose shapes are followed", name="control_picture", picture=True),
    ]
    scale: Annotated[
        ControlScale,
        option("how closely the control picture is followed", name="control_scale"),
    ] = 1.0
    kind: Annotated[
        Name | None, option("which kind of picture a ControlNet Union is handed", offered=False)
    ] = None
    """A key of `generation.families.control.KINDS`; None where nobody said."""
    start: Annotated[Strength, option("from which share of the steps on", offered=False)] = 0.0
    end: Annotated[Strength, option("until before which share", offered=False)] = 1.0
    preprocessor: Annotated[
        Name, option("what makes a control picture of the picture", offered=False)
    ] = "none"
    """A key of `generation.preprocessors.PREPROCESSORS`."""
    automatic: Annotated[
        bool, option("whether it is the usual one, for a picture that is none yet", offered=False)
    ] = False
    """Then a picture that is a control picture already is left as it is."""
    resolution: Annotated[
        int, option("pixels of its shorter side while it is made", offered=False, ge=0, le=SIDE_MAX)
    ] = 0
    """0 for those that are drawn, which A1111 calls pixel perfect."""
    threshold_a: Annotated[
        Threshold | None, option("the preprocessor's first number", offered=False)
    ] = None
    threshold_b: Annotated[
        Threshold | None, option("the preprocessor's second number", offered=False)
    ] = None
    """None for each where nobody said, and for those that it has not."""
    mode: Annotated[ControlMode, option("what goes before, it or the prompt", offered=False)] = (
        "balanced"
    )
    fit: Annotated[ControlFit, option("how another shape is laid over", offered=False)] = "crop"


class ImagePrompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Pictures that are drawn after as after a prompt, by an IP-Adapter of the catalogue."""

    name: Annotated[
        Name,
        option(
            "the IP-Adapter that reads the image prompt",
            name="ip_adapter",
            choices_from="ipadapters",
            slash=False,
        ),
    ]
    pictures: Annotated[
        tuple[PictureHash, ...],
        option(
            "a picture whose style or subject is drawn",
            name="image_prompt",
            picture=True,
            slash=False,
            min_length=1,
            max_length=PICTURES_MAX,
        ),
    ]
    weight: Annotated[
        ImageWeight,
        option("how strongly the image prompt acts", name="image_weight", slash=False),
    ] = 1.0
    kind: Annotated[ImageKind, option("what of the pictures is drawn", offered=False)] = "whole"
    start: Annotated[Strength, option("from which share of the steps on", offered=False)] = 0.0
    end: Annotated[Strength, option("until before which share", offered=False)] = 1.0
    join: Annotated[ImageJoin, option("how several pictures act together", offered=False)] = (
        "concat"
    )
    shares: Annotated[
        tuple[ImageShare, ...],
        option("how much of each of several", offered=False, max_length=PICTURES_MAX),
    ] = ()
    """Of the pictures, where their mean is taken; the same of each where there are none."""


class Variation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Noise is moved towards that of a second seed, so far."""

    seed: Seed
    strength: Strength


class Faces(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which faces of a picture are restored, and how."""

    which: FaceChoice = "all"
    model: Name = ""
    """A file of the catalogue, or an architecture; "" for the first."""
    strength: Strength = 1.0
    """How much of what was restored shows."""
    fidelity: Strength = FIDELITY
    """CodeFormer's weight: 0 for the finest face, 1 for the likest."""


class Enlargement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A finished picture made larger: by an upscaler, and where `denoising_strength` is not 0 by a
    second pass of the model over what it made.

    Sizes are in pixels, `width` and `height` of the result and `from_width` and `from_height` of
    the picture before it.
    """

    picture: PictureHash
    upscaler: Name
    """Of the catalogue, or one of generation.enlarging.PLAIN, or its NO_UPSCALER."""
    width: EnlargedSide
    height: EnlargedSide
    from_width: EnlargedSide
    from_height: EnlargedSide
    denoising_strength: Strength = 0.0
    tile: Annotated[int, Meta(ge=0, le=SIDE_MAX, multiple_of=SIDE_STEP)] = 0
    """Pixels of the tiles of the second pass; 0 for the whole at once."""
    faces: Faces | None = None
    """Which faces are restored then; None for none."""
    cutout: Name = ""
    """What removes the background then; "" where it stays."""
    control: ControlUse | None = None
    """What makes a control picture of it, which then is all that is made; its name is empty."""

    @property
    def factor(self) -> float:
        """How many times larger the result is, by its longer side."""
        return max(self.width, self.height) / max(self.from_width, self.from_height)


DescriptionStyle = Literal["tags", "caption", "both"]
"""What somebody wants to be told of a picture."""
CaptionDetail = Literal["short", "detailed", "more detailed"]
"""How long a sentence about a picture is."""


class Describing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A finished picture that is looked at: by a tagger, by a captioner, or by both."""

    picture: PictureHash
    width: EnlargedSide
    height: EnlargedSide
    """Of it, in pixels."""
    tagger: Name = ""
    """Of the catalogue; "" where no tags are wanted."""
    captioner: Name = ""
    """The same for a sentence."""
    threshold: Strength = 0.35
    """From which probability on a tag is told."""
    character_threshold: Strength = 0.85
    """The same of tags that name somebody."""
    detail: CaptionDetail = "detailed"


class Extension(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A larger canvas for a picture to start from (outpainting), in pixels: `width` and `height` of
    the picture on it, which is scaled where that is another size, and what is new at each side.
    """

    width: EnlargedSide
    height: EnlargedSide
    left: NewSide = 0
    right: NewSide = 0
    top: NewSide = 0
    bottom: NewSide = 0
    overlap: Annotated[int, Meta(ge=0, le=256)] = 0
    """How deep the old picture's edge is drawn anew, where something is new beside it."""

    SIDES: ClassVar[tuple[str, ...]] = ("left", "right", "top", "bottom")

    @property
    def canvas(self) -> tuple[int, int]:
        """Width and height of the whole."""
        return self.left + self.width + self.right, self.top + self.height + self.bottom


class InFull(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a draft would be drawn in full: what of its request is otherwise then."""

    model: Name
    steps: Steps
    guidance_scale: Guidance
    sampler: Name
    schedule: Name
    lora: Name | None = None
    """One of its LoRAs that only makes it fast."""


class GenerationRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that decides what the pictures look like.

    Picture `i` of `count` has the seed `seed + i`. Where there is a variation, as A1111 has it, all
    have the seed `seed`, and its noise is moved towards that of `variation_seed + i`; before that
    towards those of `lineage`, which make it the noise of the picture that is varied. Sizes are
    in pixels of the picture that is drawn.

    With an `enlargement` it says how that picture was drawn, and what is made is a larger one of
    it. Of a picture that was not drawn here the prompt and the model are empty. With a `describing`
    nothing is drawn, and they are empty, too: what comes of it is a text.
    """

    prompt: Annotated[Prompt, option("what the picture shows")]
    negative_prompt: Annotated[Prompt, option("what the picture should not show")] = ""
    template: Annotated[
        Prompt | None, option("the prompt before its wildcards were drawn", offered=False)
    ] = None
    negative_template: Annotated[
        Prompt | None, option("the negative prompt before that", offered=False)
    ] = None
    model: Annotated[Name, option("the checkpoint that draws", choices_from="models")]
    vae: Annotated[
        Name | None,
        option("a VAE that decodes instead of the checkpoint's own", choices_from="vaes"),
    ] = None
    refiner: Annotated[
        Name | None,
        option("a second checkpoint that draws the last steps", choices_from="models", slash=False),
    ] = None
    refiner_switch: Annotated[
        Strength,
        option("the share of the steps after which the refiner takes over", slash=False),
    ] = 0.8
    width: Annotated[Side, option("width in pixels")]
    height: Annotated[Side, option("height in pixels")]
    steps: Annotated[Steps, option("denoising steps")]
    guidance_scale: Annotated[
        Guidance, option("how closely the prompt is followed (CFG scale)", name="guidance")
    ]
    sampler: Annotated[Name, option("the sampling method", choices_from="samplers")]
    schedule: Annotated[
        Name,
        option("how the noise falls from step to step (schedule type)", choices_from="schedules"),
    ] = UNIFORM
    conventions: Annotated[
        Conventions,
        option("whose way of drawing is followed: a1111 or comfyui", slash=False),
    ] = "a1111"
    seed: Annotated[
        Seed, option("the same seed draws the same picture; -1 draws a random one", random=True)
    ]
    variation_seed: Annotated[
        Seed | None,
        option(
            "a second seed that the picture is moved towards; -1 for a random one",
            slash=False,
            random=True,
        ),
    ] = None
    variation_strength: Annotated[
        Strength,
        option("how far it is moved towards the second seed; 1 is all the way", slash=False),
    ] = 0.0
    lineage: Annotated[
        tuple[Variation, ...],
        option("the variations that it is a variation of", offered=False, max_length=LINEAGE_MAX),
    ] = ()
    count: Annotated[Count, option("how many pictures")] = 1
    clip_skip: Annotated[
        ClipSkip,
        option("layers of the text encoder left out, counted as A1111 does", slash=False),
    ] = 1
    init_picture: Annotated[
        PictureHash | None, option("a picture to start from, or to edit", picture=True)
    ] = None
    second_picture: Annotated[
        PictureHash | None,
        option("another picture, for a model that is shown several", picture=True, slash=False),
    ] = None
    third_picture: Annotated[
        PictureHash | None,
        option("a third picture, for a model that is shown several", picture=True, slash=False),
    ] = None
    fourth_picture: Annotated[
        PictureHash | None,
        option("a fourth picture, for a model that is shown several", picture=True, slash=False),
    ] = None
    image_guidance_scale: Annotated[
        Guidance | None,
        option(
            "how closely an edit by InstructPix2Pix keeps to the picture (image CFG scale)",
            name="image_guidance",
            slash=False,
        ),
    ] = None
    """None with other models, and with what was asked for before there was a choice."""
    mask: Annotated[
        PictureHash | None,
        option("white where the start picture is drawn anew, black where it stays", picture=True),
    ] = None
    mask_blur: Annotated[
        MaskBlur,
        option("how many pixels wide the mask's edge is blurred", slash=False, needs="mask"),
    ] = 4
    mask_mode: Annotated[
        MaskMode,
        option("which part is drawn anew: what is masked, or all else", slash=False, needs="mask"),
    ] = "masked"
    masked_content: Annotated[
        MaskedContent,
        option("what the part that is drawn anew begins with", slash=False, needs="mask"),
    ] = "original"
    inpaint_area: Annotated[
        InpaintArea,
        option(
            "whether all is drawn over, or only what is masked, as large as the size says",
            slash=False,
            needs="mask",
        ),
    ] = "whole picture"
    mask_padding: Annotated[
        MaskPadding,
        option(
            "pixels around the mask that are seen where only what is masked is drawn",
            slash=False,
            needs="mask",
        ),
    ] = 32
    differential: Annotated[
        Switch,
        option(
            "whether the mask's greys say how much each place changes (differential diffusion)",
            slash=False,
            needs="mask",
            also={"yes": "on", "true": "on", "no": "off", "false": "off"},
        ),
    ] = "off"
    mask_words: Annotated[
        MaskWords | None,
        option(
            "what of the start picture is drawn anew, in words: the hat; or several, with commas",
            slash=False,
            needs="init_picture",
        ),
    ] = None
    """Of a mask beside it that is what is looked through. None where nothing is looked for."""
    mask_threshold: Annotated[
        Strength,
        option("how sure it must be that a place shows them", slash=False, needs="mask_words"),
    ] = 0.4
    mask_growth: Annotated[
        MaskGrowth,
        option("pixels by which what it finds grows", slash=False, needs="mask_words"),
    ] = 4
    mask_model: Annotated[
        Name | None,
        option(
            "what finds them in the picture",
            choices_from="segmenters",
            slash=False,
            needs="mask_words",
        ),
    ] = None
    extension: Annotated[
        Extension | None,
        option("the larger canvas that the start picture is put on", offered=False),
    ] = None
    denoising_strength: Annotated[
        Strength, option("how much of the start picture is drawn anew", name="denoising")
    ] = 0.6
    tile: Annotated[
        int,
        option(
            "pixels of the tiles that a start picture is drawn anew in; 0 for the whole at once",
            offered=False,
            ge=0,
            le=SIDE_MAX,
            multiple_of=SIDE_STEP,
        ),
    ] = 0
    hires: Annotated[
        HiresSize | None,
        option("draw it larger in a second pass: times 2, or to 1024x1536; 0 for off", slash=False),
    ] = None
    """As `generation.hires` writes it: a factor, or a size that is covered; None for none."""
    hires_upscaler: Annotated[
        Name | None,
        option("what enlarges before the second pass", choices_from="upscalers", slash=False),
    ] = None
    hires_denoising: Annotated[
        Strength | None, option("how much of it the second pass draws anew", slash=False)
    ] = None
    hires_steps: Annotated[
        HiresSteps | None, option("its steps; 0 for as many as the first", slash=False)
    ] = None
    hires_guidance: Annotated[
        Guidance | None, option("its CFG scale, where that differs", slash=False)
    ] = None
    hires_sampler: Annotated[
        Name | None, option("its sampler, where that differs", choices_from="samplers", slash=False)
    ] = None
    hires_schedule: Annotated[
        Name | None,
        option("its schedule type, where that differs", choices_from="schedules", slash=False),
    ] = None
    hires_prompt: Annotated[
        Prompt | None, option("its prompt, where that differs", slash=False)
    ] = None
    hires_negative_prompt: Annotated[
        Prompt | None, option("its negative prompt, where that differs", slash=False)
    ] = None
    hires_model: Annotated[
        Name | None,
        option(
            "the checkpoint that draws it, another than the first",
            choices_from="models",
            slash=False,
        ),
    ] = None
    hires_tile: Annotated[
        HiresTile | None,
        option("pixels of the tiles that it is drawn in; 0 for the whole at once", slash=False),
    ] = None
    loras: Annotated[tuple[LoraUse, ...], Meta(max_length=LORAS_MAX)] = ()
    controls: Annotated[tuple[ControlUse, ...], Meta(max_length=CONTROLS_MAX)] = ()
    show_control: Annotated[
        Switch,
        option(
            "show what the ControlNets are handed beside the picture, and a mask found by words",
            slash=False,
        ),
    ] = "off"
    image_prompts: Annotated[tuple[ImagePrompt, ...], Meta(max_length=IMAGE_PROMPTS_MAX)] = ()
    faces: Annotated[
        FaceChoice,
        option(
            "which faces are restored: none, all, the largest, or one by its number from the left",
            slash=False,
            alone="all",
        ),
    ] = "none"
    face_model: Annotated[
        Name | None,
        option("what restores faces", choices_from="face_models", slash=False),
    ] = None
    face_strength: Annotated[
        Strength,
        option("how much of the restored faces shows; 1 is all", slash=False),
    ] = 1.0
    face_fidelity: Annotated[
        Strength,
        option("CodeFormer's weight: 0 for the finest face, 1 for the likest", slash=False),
    ] = FIDELITY
    cutout: Annotated[
        Name,
        option(
            "what makes the background transparent: auto, or a name; none leaves it",
            slash=False,
            alone="auto",
        ),
    ] = "none"
    format: Annotated[
        FileFormat,
        option(
            "what file the picture becomes: png, webp or jpeg", slash=False, also={"jpg": "jpeg"}
        ),
    ] = "png"
    quality: Annotated[
        Quality,
        option("of a webp or jpeg, 1 to 100; a webp of 100 loses nothing", slash=False),
    ] = 90
    mode: Annotated[
        Mode | None,
        option("draft for a quick one in a few steps, hd for one that is drawn large", slash=False),
    ] = None
    """None for "full", which nobody keeps."""
    full: Annotated[InFull | None, option("how a draft would be drawn in full", offered=False)] = (
        None
    )
    enlargement: Annotated[
        Enlargement | None, option("how a finished picture is made larger", offered=False)
    ] = None

    describing: Annotated[
        Describing | None, option("which picture is described, and by what", offered=False)
    ] = None

    @property
    def only_enlarges(self) -> bool:
        """Whether an upscaler does it all, and no checkpoint."""
        return self.enlargement is not None and self.enlargement.denoising_strength == 0

    @property
    def checkpoint(self) -> str:
        """The name of the checkpoint that must be loaded for it; "" where an upscaler does all."""
        return "" if self.only_enlarges or self.describing is not None else self.model

    @property
    def made_with(self) -> str:
        """The name of what makes the picture, the checkpoint or an upscaler that does all; or of
        what describes one.
        """
        if self.describing is not None:
            return self.describing.tagger or self.describing.captioner
        if self.enlargement is not None and self.only_enlarges:
            made = self.enlargement
            by = made.cutout or (made.faces.model if made.faces is not None else "")
            return by or made.upscaler
        return self.model

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what is made; of a picture of which only what is masked is drawn
        they are not known.
        """
        if self.enlargement is not None:
            return self.enlargement.width, self.enlargement.height
        if self.extension is not None:
            return self.extension.canvas
        return self.drawn_size

    @property
    def drawn_size(self) -> tuple[int, int]:
        """Width and height of what its checkpoints draw, a hires pass included."""
        if self.hires is None:
            return self.width, self.height
        return hires_sizes.of(self.hires, self.width, self.height).made

    @property
    def varied(self) -> bool:
        """Whether the noise of each picture is moved towards that of a second seed."""
        return bool(self.lineage) or (
            self.variation_seed is not None and self.variation_strength > 0
        )

    @property
    def faces_wanted(self) -> Faces | None:
        """Which faces of what is made are restored; None for none."""
        return self.faces_drawn if self.enlargement is None else self.enlargement.faces

    @property
    def cutout_wanted(self) -> str:
        """What removes the background of what is made; "" where it stays."""
        if self.enlargement is not None:
            return self.enlargement.cutout
        return "" if self.cutout == "none" else self.cutout

    @property
    def faces_drawn(self) -> Faces | None:
        """Which faces of what is drawn are restored."""
        if self.faces == "none":
            return None
        return Faces(
            which=self.faces,
            model=self.face_model or "",
            strength=self.face_strength,
            fidelity=self.face_fidelity,
        )

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each picture."""
        return tuple(self.seed + (0 if self.varied else i) for i in range(self.count))

    @property
    def variation_seeds(self) -> tuple[int | None, ...]:
        """The second seed of each picture; None for each where there is no variation."""
        if self.variation_seed is None or not self.varied:
            return (None,) * self.count
        return tuple(self.variation_seed + i for i in range(self.count))

    @property
    def variations(self) -> tuple[tuple[Variation, ...], ...]:
        """What each picture's noise is moved towards, in this order."""
        strength = self.variation_strength
        return tuple(
            self.lineage if seed is None else (*self.lineage, Variation(seed, strength))
            for seed in self.variation_seeds
        )

    @property
    def texts(self) -> Mapping[str, tuple[str, ...]]:
        """Everything in it that people write, by the name of its option."""
        return {
            "prompt": (self.prompt, self.template or ""),
            "hires_prompt": (self.hires_prompt or "",),
            "hires_negative_prompt": (self.hires_negative_prompt or "",),
            "negative_prompt": (self.negative_prompt, self.negative_template or ""),
            "model": (self.model,),
            "refiner": (self.refiner or "",),
            "hires_model": (self.hires_model or "",),
            "hires_upscaler": (self.hires_upscaler or "",),
            "hires_sampler": (self.hires_sampler or "",),
            "hires_schedule": (self.hires_schedule or "",),
            "vae": (self.vae or "",),
            "sampler": (self.sampler,),
            "schedule": (self.schedule,),
            "lora": tuple(use.name for use in self.loras),
            "controlnet": tuple(use.name for use in self.controls),
            "ip_adapter": tuple(prompt.name for prompt in self.image_prompts),
            "upscaler": (self.enlargement.upscaler if self.enlargement else "",),
            "tagger": (self.describing.tagger if self.describing else "",),
            "captioner": (self.describing.captioner if self.describing else "",),
            "cutout": (self.cutout_wanted,),
            "face_model": (self.faces_wanted.model if self.faces_wanted else "",),
            "mask_words": (self.mask_words or "",),
            "mask_model": (self.mask_model or "",),
        }

    def has(self, option: str) -> bool:
        """Whether it has what that option gives, without which others mean nothing; a larger canvas
        is a mask, too, and so are words.
        """
        given = getattr(self, option) is not None
        masked = self.extension is not None or self.mask_words is not None
        return given or (option == "mask" and masked)

    @property
    def own_controls(self) -> tuple[ControlUse, ...]:
        """Its control pictures that its model follows itself, or with a LoRA, and draws nothing
        without.
        """
        following = (self.model, *(lora.name for lora in self.loras))
        return tuple(use for use in self.controls if use.name in following)

    @property
    def shown(self) -> tuple[str, ...]:
        """Hashes of the pictures that it starts from or that are edited, in order."""
        pictures = (self.init_picture, *(getattr(self, name) for name in FURTHER_PICTURES))
        return tuple(picture for picture in pictures if picture is not None)

    @property
    def edits(self) -> bool:
        """Whether the pictures that it is given are changed by what the prompt says: drawn from
        noise alone beside them, or by InstructPix2Pix.
        """
        if self.init_picture is None or self.enlargement is not None:
            return False
        if self.mask is not None or self.mask_words is not None:
            return False
        return self.denoising_strength == 1 or self.image_guidance_scale is not None

    @property
    def uploads(self) -> tuple[str, ...]:
        """Hashes of the pictures in the store that it starts from, edits or follows, and that of
        its mask.
        """
        mask = () if self.mask is None else (self.mask,)
        enlarged = () if self.enlargement is None else (self.enlargement.picture,)
        described = () if self.describing is None else (self.describing.picture,)
        prompted = (picture for prompt in self.image_prompts for picture in prompt.pictures)
        followed = (use.picture for use in self.controls)
        return (*self.shown, *mask, *enlarged, *described, *followed, *prompted)

    def unmasked(self, **changes: Any) -> "GenerationRequest":
        """A copy without a mask, and with these fields changed."""
        usual = {
            field.name: field.default
            for field in msgspec.structs.fields(GenerationRequest)
            if field.name in MASKED
        }
        return self.with_(**(usual | changes))

    def with_(self, **changes: Any) -> "GenerationRequest":
        """A copy with these fields changed, checked like any other request.

        Raises `msgspec.ValidationError` when a change is out of bounds.
        """
        return msgspec.convert(msgspec.to_builtins(self) | changes, GenerationRequest)


HIRES: Final = tuple(n for n in GenerationRequest.__struct_fields__ if n.startswith("hires"))
"""The fields that say how it is drawn larger in a second pass."""
NO_HIRES: Final[Mapping[str, None]] = dict.fromkeys(HIRES)


def undrawn(**about: Any) -> GenerationRequest:
    """A request about a picture that it does not draw: what is done with it stands in `about`, and
    the rest stands for what nobody knows.
    """
    return GenerationRequest(
        prompt="",
        model="",
        width=SIDE_MIN,
        height=SIDE_MIN,
        steps=1,
        guidance_scale=0.0,
        sampler="Euler",
        seed=0,
        **about,
    )
