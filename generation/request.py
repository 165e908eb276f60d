"""What is asked for: one picture request, frozen, each field with its help and bounds.

The slash options, the command line, the database column and the pipe to the worker process all
use these declarations. `Meta.description` is the help that people read; `Meta.extra` says how an
option is offered: its name, the list that its values come from, whether it is an uploaded picture.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from generation import hires_sizes
from generation.request_fields import (
    CONTROLS_MAX,
    FIDELITY,
    FURTHER_PICTURES,
    IMAGE_PROMPTS_MAX,
    LINEAGE_MAX,
    LORAS_MAX,
    MASKED,
    SIDE_MAX,
    SIDE_MIN,
    SIDE_STEP,
    ClipSkip,
    Conventions,
    Count,
    FaceChoice,
    FileFormat,
    Guidance,
    HiresSize,
    HiresSteps,
    HiresTile,
    InpaintArea,
    MaskBlur,
    MaskedContent,
    MaskGrowth,
    MaskMode,
    MaskPadding,
    MaskWords,
    Mode,
    Name,
    PictureHash,
    Prompt,
    Quality,
    Seed,
    Side,
    Steps,
    Strength,
    Switch,
    option,
)
from generation.request_parts import (
    ControlUse,
    Describing,
    Enlargement,
    Extension,
    Faces,
    ImagePrompt,
    InFull,
    LoraUse,
    Variation,
)
from generation.samplers import UNIFORM


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
        return self.with_(**{**UNMASKED, **changes})

    def with_(self, **changes: Any) -> "GenerationRequest":
        """A copy with these fields changed, checked like any other request.

        Raises `msgspec.ValidationError` when a change is out of bounds.
        """
        return msgspec.convert(msgspec.to_builtins(self) | changes, GenerationRequest)


UNMASKED: Final[Mapping[str, Any]] = {
    field.name: field.default
    for field in msgspec.structs.fields(GenerationRequest)
    if field.name in MASKED
}
"""How the fields about a mask are without one."""
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
