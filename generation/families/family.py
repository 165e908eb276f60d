"""What all models of one architecture have in common, as data."""

import re
from collections.abc import Mapping
from typing import Final, Literal, Self

import msgspec

from generation.families.layout import Layout
from generation.models import SD3_OR_FLUX, UNKNOWN

Ability = Literal["text_to_image", "image_to_image", "lora", "controlnet", "clip_skip", "vae"]
Prediction = Literal["epsilon", "v_prediction", "flow"]
GuidanceKind = Literal["cfg", "distilled", "none"]
"""How a model follows its prompt: away from the negative prompt, which doubles what each step costs
(Ho and Salimans, "Classifier-Free Diffusion Guidance"); as strongly as a number tells it, which it
was taught to read (distilled); or as it was trained, and nothing changes it."""

ALIKE: Final[Mapping[str, tuple[str, ...]]] = {
    UNKNOWN: ("sd1", "sdxl"),
    SD3_OR_FLUX: ("sd3", "flux"),
}
"""Families of VAEs of which nothing in a file tells one from the other."""


class TextEncoder(msgspec.Struct, frozen=True, kw_only=True):
    """One of the encoders that read the prompt, and which of its states the denoiser attends to."""

    part: str
    """Its folder in diffusers' layout, such as `text_encoder_2`."""
    tokenizer: str
    layer: int = 1
    """Which hidden state is taken, counted from the last, as clip skip counts."""
    final_norm: bool = True
    """Whether that state goes through the encoder's final norm."""
    pooled: bool = False
    """Whether its pooled state is what the denoiser is told of the whole prompt; those of several
    stand side by side."""
    projected: bool = True
    """Whether that state goes through the encoder's projection."""
    make: str = "clip"
    """The file of `generation/runtime/encoders/` that reads with it."""
    joined: Literal["beside", "behind", "nowhere"] = "beside"
    """Where its states are put: side by side with those of the encoders before it, token by token;
    behind them, as further tokens; or nowhere, where the denoiser only reads its pooled state."""
    tokens: int = 0
    """How many tokens it reads at once, filled up; 0 where it reads chunk by chunk, as CLIP."""
    comfyui_tokens: int = 0
    """Up to how many ComfyUI fills a prompt up, where that is another number than for others."""
    one_pad: bool = False
    """Whether one token that fills up stands behind a prompt, however long it is; none looks at it
    there."""
    file: str = ""
    """The make of file that can be it, such as "t5xxl", as text encoders have it for a family;
    "" where it lies in every checkpoint."""
    optional: bool = False
    """Whether pictures can be drawn without it."""
    template: str = "{}"
    """What is said to a language model, the prompt in the place of the braces."""
    states: tuple[int, ...] = ()
    """Of a language model those of its states that stand side by side, by how many layers are
    behind them; empty where it is `layer` alone."""
    picture: str = ""
    """What is said to one that sees pictures for each of them, before the prompt, its number in the
    place of the braces."""
    unseen: int = 0
    """How many tokens of the template, which stand before the prompt, the denoiser does not see."""
    eyes: int = 0
    """Bytes in half precision of what sees pictures, where it is loaded, which are not in
    `Family.bytes_at_half`."""


class Latents(msgspec.Struct, frozen=True, kw_only=True):
    """What the VAE makes of a picture: (N, channels, H / factor, W / factor)."""

    make: str = "plain"
    """The make of VAE in `generation/runtime/autoencoders.py`."""
    channels: int = 4
    factor: int = 8
    token: int = 2
    """How many of them a side a transformer packs into a token."""
    scale: float = 0.18215
    """What the published VAE's are multiplied by for the denoiser."""
    shift: float = 0.0
    """What is taken off them before that."""
    widths: tuple[int, ...] = (128, 256, 512, 512)
    """Channels of the published VAE's levels."""
    colours: tuple[tuple[float, float, float], ...] = ()
    """What a latent pixel of the published VAE looks like, for previews: red, green and blue, from
    -1 to 1, by channel as the denoiser has it, and last what is added. Empty where not known.
    """


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """What its networks take on the device beside their weights, in half precision, as
    `python -m benchmarks.activations` adds it up.
    """

    denoise: float = 470.0
    """Bytes for each pixel that the denoiser sees, of one row: with guidance a picture has two."""
    denoise_fixed: int = 60_000_000
    """The same whatever the size."""
    control: float = 0.0
    """Bytes for each such pixel that each ControlNet adds: what it needs itself, beyond what the
    denoiser does, or what its answers take while that works."""
    decode: float = 1536.0
    """Bytes for each pixel that the VAE decodes at once."""
    encode: int = 100_000_000
    """Of the text encoders."""


class ConfigMark(msgspec.Struct, frozen=True):
    """By what a part's config.json in diffusers' layout, or model_index.json, says a variant is
    told.
    """

    variant: str
    key: str
    value: float | bool
    part: Literal["denoiser", "scheduler", "pipeline"] = "denoiser"

    def fits(self, config: object) -> bool:
        """Whether what is read of a config.json says so."""
        return getattr(config, self.key, None) == self.value


class References(msgspec.Struct, frozen=True, kw_only=True):
    """How a model that edits pictures is shown them: each as latents of a size of its own, beside
    those that it draws. It draws from noise alone.
    """

    most: int = 1
    """How many it is shown."""
    shapes: tuple[tuple[int, int], ...] = ()
    """Width and height of the shapes that it was trained to be shown, the wide ones; turned they
    are as good. A picture is brought to the nearest. Empty where it keeps its own shape."""
    enlarges: bool = True
    """Whether a picture smaller than the native square is brought to its area, as a larger one
    is."""
    step: int = 16
    """Pixels; both its sides are multiples of it."""
    starts: bool = False
    """Whether a picture is one to start from all the same, where less than all is to be drawn anew.
    """
    seen: int = 0
    """Side of the square in whose area the text encoder sees them; 0 where it does not."""
    needed: bool = False
    """Whether nothing is drawn without one."""


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for the models of one variant in the place of what holds for their family."""

    guidance: GuidanceKind
    steps: int
    guidance_scale: float
    sampler: str = ""
    schedule: str = ""
    """Both "" where nothing else holds."""
    tokens: int = 0
    """What holds for `TextEncoder.tokens`; 0 where nothing else does."""
    references: References | None = None
    """What holds for `Family.references`; None where nothing else does."""
    encoders: tuple[TextEncoder, ...] = ()
    """What reads the prompt in the place of the family's; () where nothing else does."""


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """What all models of one architecture have in common.

    `native_size` is the side, in pixels, of the square that its models were trained on.
    `context_width` is the width of the text embedding that its denoiser reads, which tells the
    Stable Diffusion versions apart. `vaes` is the family whose VAEs fit: those of Stable Diffusion
    1 and 2 are alike, and nothing in a file tells which of the two it came with.
    """

    title: str
    network: str
    """The file of `generation/runtime/networks/` that calls its denoiser."""
    pipeline: str
    """The diffusers class that reads its single files and folders."""
    config: str
    """Folder below `generation/runtime/configs/` with what a single file does not carry."""
    denoiser: Literal["unet", "transformer"] = "unet"
    """Its folder in diffusers' layout, by which LoRAs name it, too."""
    encoders: tuple[TextEncoder, ...]
    """In the order in which their states are put side by side."""
    latents: Latents = Latents()
    prediction: Prediction = "epsilon"
    """What its denoiser answers with, where a model says nothing else."""
    size_conditioning: Literal["", "size", "aesthetic"] = ""
    """What the denoiser is told beside the text: of SDXL the original size, crop and target size,
    of its refiner the original size, crop and an aesthetic score."""
    native_size: int
    buckets: tuple[tuple[int, int], ...] = ()
    """Width and height of the shapes that its models were trained on in the native square's area,
    the wide ones; turned they are as good. An aspect gets the nearest."""
    side_step: int = 8
    """Pixels; every side is a multiple of it."""
    steps: int
    guidance_scale: float
    sampler: str
    schedule: str = ""
    """The schedule type where none is chosen, or Automatic; "" for the sampler's own."""
    shift_by_steps: bool = False
    """Of a flow model: whether the shift of its noise levels goes by the steps, too."""
    comfyui_shift: float = 0.0
    """Of a flow model: by how much ComfyUI shifts its noise levels, whatever is drawn; 0 where that
    is what holds for the largest picture."""
    guidance: GuidanceKind = "cfg"
    guidance_keeps_length: bool = False
    """Whether guidance turns the answer for two by two latents and leaves it as long as it was, as
    its authors have it; ComfyUI does not."""
    half: Literal["float16", "bfloat16"] = "float16"
    """In which half precision its models compute: large transformers overflow in float16."""
    abilities: frozenset[Ability]
    vaes: str
    references: References | None = None
    """How its models are shown the pictures that they edit; None of those that take a given picture
    for one to start from."""
    context_width: int = 0
    variants: frozenset[str] = frozenset(("",))
    """Which of its models and parts can be drawn with, as `ModelFile.variant` names them; "" are
    the usual ones."""
    versions: Mapping[str, Version] = {}
    """What is otherwise with some of its variants."""
    named: Mapping[str, tuple[tuple[str, str], ...]] = {}
    """By the variant that a file is told to be, expressions by which its name tells variants that
    nothing in it does; the first that is there tells."""
    layouts: tuple[Layout, ...] = ()
    """How its files are told."""
    config_marks: tuple[ConfigMark, ...] = ()
    """How the variants of its folders are told; the first that fits is it."""
    bytes_at_half: Mapping[str, int]
    """Memory of the weights of each part in half precision."""
    streamed: Mapping[str, tuple[int, int]] = {}
    """What a part needs on the device while it is streamed block by block, and layer by layer, in
    half precision; by `python -m benchmarks.activations`."""
    beside: Beside = Beside()

    @property
    def bytes_of_all(self) -> int:
        """Memory of all its weights in half precision."""
        return sum(self.bytes_at_half.values())

    @property
    def weighs_words(self) -> bool:
        """Whether `(words:1.3)` and AND mean something to it: they do to CLIP's states alone."""
        return any(one.make == "clip" and one.joined != "nowhere" for one in self.encoders)

    @property
    def reads_all_weighed(self) -> bool:
        """Whether all that it reads of a prompt can be weighted."""
        return all(one.make == "clip" and one.joined != "nowhere" for one in self.encoders)

    def takes_vae_of(self, family: str) -> bool:
        """Whether a VAE of that family may be made for it: its own, or one that does not tell."""
        return family == self.vaes or self.vaes in ALIKE.get(family, ())

    def variant_named(self, told: str, *texts: str) -> str:
        """Which variant the name of a file, or what else is said of it, speaks of, that is told to
        be `told`; that itself where none.
        """
        for text in texts:
            for pattern, variant in self.named.get(told, ()):
                if re.search(pattern, text.lower()):
                    return variant
        return told

    @property
    def whole_bytes(self) -> dict[str, int]:
        """Of each part in half precision, what sees pictures included."""
        eyes = {row.part: row.eyes for row in self.encoders}
        return {part: size + eyes.get(part, 0) for part, size in self.bytes_at_half.items()}

    def version(self, variant: str) -> Self:
        """With what holds for models of that variant."""
        own = self.versions.get(variant)
        if own is None:
            return self
        encoders = tuple(
            msgspec.structs.replace(one, tokens=own.tokens or one.tokens) if one.tokens else one
            for one in own.encoders or self.encoders
        )
        return msgspec.structs.replace(
            self,
            guidance=own.guidance,
            steps=own.steps,
            guidance_scale=own.guidance_scale,
            sampler=own.sampler or self.sampler,
            schedule=own.schedule or self.schedule,
            references=own.references or self.references,
            encoders=encoders,
        )


RECOGNISED: Final[dict[str, str]] = {
    UNKNOWN: "Stable Diffusion (version unknown)",
    "sdxl": "Stable Diffusion XL",
    "sdxl-refiner": "Stable Diffusion XL refiner",
    "sd3": "Stable Diffusion 3",
    "sd3.5": "Stable Diffusion 3.5",
    "flux": "Flux.1",
    "flux2": "Flux.2",
    "flux2-klein-4b": "Flux.2 Klein 4B",
    "flux2-klein-9b": "Flux.2 Klein 9B",
    "flux2-dev": "Flux.2 Dev",
    "flux3": "Flux.3",
    SD3_OR_FLUX: "Stable Diffusion 3, Flux.1 or a relative",
    "chroma": "Chroma",
    "z-image": "Z-Image",
    "qwen-image": "Qwen-Image",
    "qwen-image-2.1": "Qwen-Image 2.1",
    "lumina2": "Lumina 2",
    "hidream": "HiDream",
    "sana": "Sana",
    "auraflow": "AuraFlow",
    "krea2": "Krea 2",
    "anima": "Anima",
    "ideogram4": "Ideogram 4",
    "ernie-image": "ERNIE-Image",
    "hunyuan-image": "HunyuanImage",
    "cascade": "Stable Cascade",
    "pixart": "PixArt",
    "hunyuan-dit": "Hunyuan-DiT",
    "playground-2.5": "Playground 2.5",
}
"""Families that the catalogue names, so that nobody takes their files for broken ones."""
