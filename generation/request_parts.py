"""What a request is made of: LoRAs, control pictures, image prompts, faces, enlargements, …"""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from generation.request_fields import (
    FIDELITY,
    PICTURES_MAX,
    SIDE_MAX,
    SIDE_STEP,
    ControlFit,
    ControlMode,
    ControlScale,
    EnlargedSide,
    FaceChoice,
    Guidance,
    ImageJoin,
    ImageKind,
    ImageShare,
    ImageWeight,
    LoraWeight,
    Name,
    NewSide,
    PictureHash,
    Seed,
    Steps,
    Strength,
    Threshold,
    option,
)


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
