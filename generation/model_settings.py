"""What holds for one checkpoint: `[models.NAME]` of config.toml, and a file beside the model."""

from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from generation import samplers, toml_text
from generation.regular_files import printable, read_regular
from generation.request_fields import ClipSkip, Guidance, Name, Prompt, Side, Steps

IN_FOLDER: Final = "darkroom.toml"
BESIDE: Final = ".darkroom.toml"
"""Of a single file: `dream.safetensors` has `dream.darkroom.toml` beside it."""
FILE_MAX: Final = 64 * 1024
"""Bytes."""
ENCODERS_MAX: Final = 8
"""More text encoders than any model has."""

Quantise = Literal["", "fp8", "int8", "nf4"]


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[models.NAME]`: what holds for a checkpoint when a person names nothing else."""

    width: Side | None = None
    height: Side | None = None
    steps: Steps | None = None
    guidance_scale: Guidance | None = None
    sampler: Name | None = None
    schedule: Name | None = None
    clip_skip: ClipSkip | None = None
    negative_prompt: Prompt | None = None
    vae: Name | None = None
    text_encoders: Annotated[tuple[Name, ...], Meta(max_length=ENCODERS_MAX)] | None = None
    """Files that are its text encoders where several would do."""
    quantise: Quantise | None = None
    """What the weights of its denoiser and its large text encoders become when they are loaded, to
    take less memory; "" leaves them as they are."""
    hub: Name | None = None
    """The model of Hugging Face's hub that goes by this name."""

    def over(self, other: "ModelSettings | None") -> "ModelSettings":
        """These, and where they say nothing, the other's."""
        if other is None:
            return self
        said = {name: getattr(self, name) for name in self.__struct_fields__}
        return msgspec.structs.replace(
            other, **{name: value for name, value in said.items() if value is not None}
        )


def read_settings(file: Path) -> ModelSettings:
    """The settings in a file beside a model. Raises OSError, or ValueError with what is wrong."""
    content = read_regular(file, FILE_MAX)
    try:
        table = toml_text.loads(content.decode("utf-8-sig").replace("\r\n", "\n"))
        settings = msgspec.convert(table, ModelSettings)
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(printable(str(error))[:200]) from None
    if settings.hub is not None:
        raise ValueError("hub stands in config.toml alone, in [models.NAME]")
    if settings.sampler is not None and samplers.read(settings.sampler) is None:
        raise ValueError(f"there is no sampler {printable(settings.sampler)[:80]}")
    if settings.schedule is not None and samplers.schedule(settings.schedule) is None:
        raise ValueError(f"there is no schedule {printable(settings.schedule)[:80]}")
    return settings
