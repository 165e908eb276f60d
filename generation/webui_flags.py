"""What AUTOMATIC1111's, Forge's and ComfyUI's command-line flags are here: settings of `[worker]`.

A flag changes what config.toml leaves at its default. Each is answered with what it became.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from generation.messages import RuntimeSettings
from generation.name_search import nearest


class Flag(NamedTuple):
    """A flag of one of those programs."""

    becomes: Mapping[str, object] = {}
    """Settings of `[worker]`."""
    because: str = ""
    """Where it becomes none: why, or what to do instead."""
    takes: bool = False
    """Whether a value follows it."""


class FlagAnswer(NamedTuple):
    """What became of a flag."""

    flag: str
    says: str
    known: bool = True

    def __str__(self) -> str:
        return f"{self.flag}: {self.says}"


def _sets(**settings: object) -> Flag:
    return Flag(becomes=settings)


ATTENTION: Final = Flag(because="nothing: torch's own attention takes as little memory")
PLANNED: Final = Flag(because="nothing: memory is planned by what is free")
PAGE: Final = Flag(because="nothing: there is no web page here")
PAGE_WITH: Final = PAGE._replace(takes=True)
FOLDER: Final = Flag(because="not followed: name the folder in [models] folders", takes=True)
GPU: Final = Flag(because="not followed: set CUDA_VISIBLE_DEVICES in the environment", takes=True)
AS_LOADED: Final = Flag(because="nothing: weights that come in 8 bits stay so where they can")
ALWAYS: Final = Flag(because="nothing: that is always so")
TWO_PRECISIONS: Final = Flag(
    because="nothing: half precision, and float32 from the picture on in which a VAE overflows"
)
UNLIKE: Final = Flag(
    because="not followed: it changes pictures, and nothing here does that unasked"
)

FLAGS: Final[Mapping[str, Flag]] = {
    # memory
    "--highvram": _sets(memory="high"),
    "--gpu-only": _sets(memory="high"),
    "--always-gpu": _sets(memory="high"),
    "--always-high-vram": _sets(memory="high"),
    "--medvram": _sets(memory="medium"),
    "--medvram-sdxl": PLANNED,
    "--normalvram": PLANNED,
    "--always-normal-vram": PLANNED,
    "--lowvram": _sets(memory="low"),
    "--novram": _sets(memory="low"),
    "--always-low-vram": _sets(memory="low"),
    "--always-no-vram": _sets(memory="low"),
    "--lowram": PLANNED,
    "--reserve-vram": Flag(becomes={"vram_reserve": float}, takes=True),
    "--disable-smart-memory": _sets(models_kept=1),
    "--cache-none": _sets(models_kept=1),
    "--cache-lru": Flag(becomes={"models_kept": int}, takes=True),
    "--cache-classic": ALWAYS,
    "--disable-mmap": _sets(disable_mmap=True),
    "--cuda-malloc": PLANNED,
    "--disable-cuda-malloc": PLANNED,
    "--cuda-stream": Flag(because="nothing: what is streamed is copied while others compute"),
    "--async-offload": Flag(because="nothing: what is streamed is copied while others compute"),
    "--pin-shared-memory": Flag(because="nothing: main memory is pinned as far as it may be"),
    "--always-batch-cond-uncond": ALWAYS,
    # precision
    "--no-half": _sets(precision="float32"),
    "--precision": Flag(becomes={"precision": {"full": "float32"}}, takes=True),
    "--force-fp32": _sets(precision="float32"),
    "--all-in-fp32": _sets(precision="float32"),
    "--fp32-unet": _sets(precision="float32"),
    "--unet-in-fp32": _sets(precision="float32"),
    "--force-fp16": _sets(precision="float16"),
    "--all-in-fp16": _sets(precision="float16"),
    "--fp16-unet": _sets(precision="float16"),
    "--unet-in-fp16": _sets(precision="float16"),
    "--bf16-unet": _sets(precision="bfloat16"),
    "--unet-in-bf16": _sets(precision="bfloat16"),
    "--no-half-vae": _sets(vae_precision="float32"),
    "--fp32-vae": _sets(vae_precision="float32"),
    "--vae-in-fp32": _sets(vae_precision="float32"),
    "--bf16-vae": TWO_PRECISIONS,
    "--vae-in-bf16": TWO_PRECISIONS,
    "--fp16-vae": TWO_PRECISIONS,
    "--vae-in-fp16": TWO_PRECISIONS,
    "--disable-nan-check": Flag(because="not followed: a black picture is never delivered"),
    "--upcast-sampling": Flag(because="nothing: what overflows is drawn again in bfloat16"),
    "--force-upcast-attention": Flag(because="nothing: what overflows is drawn again wider"),
    "--dont-upcast-attention": ALWAYS,
    "--fp8_e4m3fn-unet": AS_LOADED,
    "--fp8_e5m2-unet": AS_LOADED,
    "--fp8_e4m3fn-text-enc": AS_LOADED,
    "--fp8_e5m2-text-enc": AS_LOADED,
    "--fp16-text-enc": AS_LOADED,
    "--fp32-text-enc": AS_LOADED,
    # speed
    "--xformers": ATTENTION,
    "--force-enable-xformers": ATTENTION,
    "--disable-xformers": ATTENTION,
    "--opt-sdp-attention": ATTENTION,
    "--opt-sdp-no-mem-attention": ATTENTION,
    "--opt-sub-quad-attention": ATTENTION,
    "--opt-split-attention": ATTENTION,
    "--opt-split-attention-v1": ATTENTION,
    "--opt-split-attention-invokeai": ATTENTION,
    "--disable-opt-split-attention": ATTENTION,
    "--use-split-cross-attention": ATTENTION,
    "--use-quad-cross-attention": ATTENTION,
    "--use-pytorch-cross-attention": ATTENTION,
    "--attention-pytorch": ATTENTION,
    "--attention-split": ATTENTION,
    "--attention-quad": ATTENTION,
    "--use-flash-attention": ATTENTION,
    "--use-sage-attention": UNLIKE,
    "--fast": UNLIKE,
    "--opt-channelslast": _sets(channels_last=True),
    "--force-channels-last": _sets(channels_last=True),
    "--deterministic": ALWAYS,
    # devices
    "--cpu": _sets(device="cpu"),
    "--always-cpu": _sets(device="cpu"),
    "--use-cpu": Flag(becomes={"device": {"all": "cpu"}}, takes=True),
    "--cpu-vae": Flag(because="nothing: where memory is short the VAE works on tiles"),
    "--device-id": GPU,
    "--gpu-device-id": GPU,
    "--cuda-device": GPU,
    "--default-device": GPU,
    "--directml": Flag(because="not followed: DirectML is not supported"),
    "--use-directml": Flag(because="not followed: DirectML is not supported"),
    "--use-ipex": Flag(because="not followed: only CUDA, ROCm and Apple's GPUs are"),
    "--skip-torch-cuda-test": ALWAYS,
    # folders
    "--ckpt-dir": FOLDER,
    "--lora-dir": FOLDER,
    "--vae-dir": FOLDER,
    "--text-encoder-dir": FOLDER,
    "--embeddings-dir": FOLDER,
    "--controlnet-dir": FOLDER,
    "--esrgan-models-path": FOLDER,
    "--models-dir": FOLDER,
    "--data-dir": FOLDER,
    "--base-directory": FOLDER,
    "--forge-ref-a1111-home": FOLDER,
    "--extra-model-paths-config": Flag(
        because="not followed: name the file in [models] extra_model_paths", takes=True
    ),
    "--ckpt": Flag(because="not followed: name it as default in [models]", takes=True),
    "--vae-path": Flag(because="not followed: name it in [models.NAME]", takes=True),
    "--no-download-sd-model": ALWAYS,
    "--disable-safe-unpickle": Flag(because="not followed: pickles are never loaded"),
    # pages
    "--preview-method": Flag(because="not followed: see preview_every in [worker]", takes=True),
    "--api": PAGE,
    "--nowebui": PAGE,
    "--listen": PAGE,
    "--share": PAGE,
    "--autolaunch": PAGE,
    "--auto-launch": PAGE,
    "--disable-auto-launch": PAGE,
    "--enable-insecure-extension-access": PAGE,
    "--enable-cors-header": PAGE,
    "--no-gradio-queue": PAGE,
    "--windows-standalone-build": PAGE,
    "--port": PAGE_WITH,
    "--theme": PAGE_WITH,
    "--gradio-auth": PAGE_WITH,
    "--server-name": PAGE_WITH,
    "--cors-allow-origins": PAGE_WITH,
    "--update-check": PAGE,
    "--update-all-extensions": PAGE,
    "--skip-install": PAGE,
    "--skip-python-version-check": PAGE,
    "--skip-version-check": PAGE,
}
ALIASES: Final = {"--use-sdp-attention": "--opt-sdp-attention", "--use-xformers": "--xformers"}
PASTED: Final = re.compile(r"^\s*(?:set|export)?\s*COMMANDLINE_ARGS\s*=", re.IGNORECASE)
"""How a line of webui-user.bat or webui-user.sh begins."""
SHOWN: Final = 60


def followed(
    text: str, settings: RuntimeSettings
) -> tuple[RuntimeSettings, tuple[FlagAnswer, ...]]:
    """The settings with what the flags change, and what became of each flag in order.

    What config.toml sets to another value than the default goes before.
    """
    defaults = RuntimeSettings()
    answers = []
    for flag, value in _read(text):
        row = FLAGS.get(ALIASES.get(flag, flag))
        if row is None:
            [alike] = nearest(flag, list(FLAGS))
            says = f"unknown, and without effect. Did you mean {alike}?"
            answers.append(FlagAnswer(_shown(flag), says, known=False))
            continue
        if not row.becomes:
            answers.append(FlagAnswer(flag, row.because))
            continue
        [(name, becomes)] = row.becomes.items()
        wanted = _value(becomes, value)
        if wanted is None:
            answers.append(
                FlagAnswer(flag, f"without effect with the value {_shown(value) or 'none'}")
            )
            continue
        now = getattr(settings, name)
        if now not in (getattr(defaults, name), wanted):
            answers.append(
                FlagAnswer(flag, f"not followed: {_setting(name, now)} is in config.toml")
            )
            continue
        try:
            changed = msgspec.structs.asdict(settings) | {name: wanted}
            settings = msgspec.convert(changed, RuntimeSettings)
        except msgspec.ValidationError as error:
            why = str(error).partition(" - at")[0]
            answers.append(FlagAnswer(flag, f"without effect: {why}"))
            continue
        answers.append(FlagAnswer(flag, _setting(name, wanted)))
    return settings, tuple(answers)


def _read(text: str) -> Iterator[tuple[str, str]]:
    """Flags with their values, "" where there is none."""
    text = PASTED.sub("", text).strip().strip("\"'")
    try:
        words = shlex.split(text, posix=False)
    except ValueError:  # a quotation mark that nothing closes
        words = text.split()
    flag, value = "", ""
    for word in words:
        if word.startswith("-"):
            if flag:
                yield flag, value
            flag, _, value = word.partition("=")
        elif flag:
            value = value or word.strip("\"'")
        else:
            yield word, ""
    if flag:
        yield flag, value


def _value(becomes: object, value: str) -> object:
    """What a setting is to be; None where the value says nothing of it."""
    if isinstance(becomes, Mapping):
        return becomes.get(value.lower())
    if isinstance(becomes, type):
        try:
            return becomes(value)
        except ValueError:
            return None
    return becomes


def _setting(name: str, value: object) -> str:
    shown = f'"{value}"' if isinstance(value, str) else str(value).lower()
    return f"{name} = {shown}"


def _shown(text: str) -> str:
    return text if len(text) <= SHOWN and text.isprintable() else f"{text[:SHOWN]!r}"
