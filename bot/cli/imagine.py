"""`python -m bot imagine`: a request and its pictures, without any chat."""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console

from bot.cli.arguments import folder
from bot.cli.making import LOCALE, Maker, a_maker, say
from bot.config import Config
from bot.delivery.surroundings import KNOWN_SHOWN
from bot.locales import Texts
from bot.pictures.decoding import PictureDecoder
from bot.pictures.uploads import parts_of, read_file
from bot.requests.given_pictures import sizes_of
from bot.requests.masks import check_masked
from bot.ui.formatting import cut
from generation import abilities, completion, prompt_flags, vocabulary
from generation.job import Failure, Job, JobState
from generation.models import ModelKind
from generation.picture_files import suffix_of
from generation.prompts import spaced_weights
from generation.refusal import Refused
from generation.regular_files import printable
from generation.request import GenerationRequest
from generation.request_fields import FURTHER_PICTURES
from generation.request_options import Option, defaults, options, stepped
from generation.sizes import ASPECTS
from storage.errors import DatabaseError
from storage.jobs import JobStore
from storage.picture_store import PictureMissingError

OF_THE_MODEL: Final = "the model's"
SAME_AS_FIRST: Final = (
    *("hires_steps", "hires_guidance", "hires_sampler", "hires_schedule", "hires_prompt"),
    *("hires_negative_prompt", "hires_model"),
)
UNSET: Final[Mapping[str, str]] = {
    **dict.fromkeys(("width", "height", "steps", "guidance", "sampler", "schedule"), OF_THE_MODEL),
    **dict.fromkeys(("negative_prompt", "vae"), OF_THE_MODEL),
    "model": "that of config.toml, or the first",
    "seed": "random",
    "variation_seed": "random where --variation-strength is given",
    **dict.fromkeys(("init_picture", *FURTHER_PICTURES), "none"),
    "mask": "what is erased of the picture",
    "mask_words": "none",
    "mask_model": "the first that is there",
    "image_guidance": "1.5 with InstructPix2Pix",
    "refiner": "none",
    "mode": "full",
    "hires": "for sizes far over the model's own",
    "hires_upscaler": "Latent, or what [enlarging] has for models of less than 512 pixels",
    "hires_denoising": "0.7 over latents, 0.4 or 0.05 over pictures",
    **dict.fromkeys(SAME_AS_FIRST, "as without hires_"),
    "face_model": "the first that is there",
    "cutout": "none",
    "hires_tile": "0 up to twice the model's own side",
    "controlnet": "the only one that fits the model",
    "control_picture": "none",
    "ip_adapter": "the only one that fits the model",
    "image_prompt": "none",
}
"""What holds for options where nobody sets them and it is not the same for every model."""
CONTROLS: Final = {
    "controlnet": (
        "NAME",
        "NAME:SCALE, and behind it kind=, start=, end=, pre=, res=, a=, b=, mode=, fit= or picture="
        " between colons; up to three times",
    ),
    "control_picture": ("FILE", "once for all, or once for each of several ControlNets"),
    "image_prompt": ("FILE", "up to four times"),
}
"""Options that are given several times."""
RANGES: Final = (
    "Ranges are the widest that there are: [limits] in config.toml allows less, and a family of"
    " models may."
)
WORDS_MAX: Final = 300
"""Characters of lists of words."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """A flag for every option of a request."""
    parser.add_argument(
        "prompt", nargs="?", help="what the picture shows; - reads prompts from stdin"
    )
    parser.add_argument(
        "--prompts",
        type=Path,
        metavar="FILE",
        help="a file with a prompt a line; - for stdin",
    )
    for option in options().values():
        if option.name == "prompt":
            continue
        flag = "--" + option.name.replace("_", "-")
        if option.name == "lora":
            help_ = f"{option.help}; NAME or NAME:WEIGHT, as often as you like"
            parser.add_argument(flag, dest="lora", metavar="LORA", action="append", help=help_)
            continue
        if option.name in CONTROLS:
            hint, help_ = CONTROLS[option.name]
            about = f"{_help(option)}; {help_}"
            parser.add_argument(flag, dest=option.name, metavar=hint, action="append", help=about)
            continue
        hint = "FILE" if option.picture else option.type.__name__.upper()
        if option.choices:
            hint = "|".join(choice.replace(" ", "-") for choice in option.choices)
        means = "on" if option.switch else option.alone
        alone: dict[str, Any] = {"nargs": "?", "const": means} if means else {}
        parser.add_argument(flag, dest=option.name, metavar=hint, help=_help(option), **alone)
    parser.add_argument(
        "--aspect", help=f"instead of a size: {', '.join(ASPECTS)}, or another ratio, as 5:4"
    )
    for mode, help_ in (("draft", "--mode draft"), ("hd", "--mode hd")):
        parser.add_argument(
            f"--{mode}", dest="mode", action="store_const", const=mode, help=f"the same as {help_}"
        )
    parser.add_argument(
        "-o",
        "--out",
        type=folder,
        default=Path("out"),
        metavar="FOLDER",
        help="folder for pictures (default: %(default)s)",
    )


def flags() -> list[str]:
    """Every flag there is."""
    named = [name for name in options() if name != "prompt"]
    return [
        f"--{name.replace('_', '-')}"
        for name in (*named, "aspect", "draft", "hd", "prompts", "out")
    ]


def _help(option: Option) -> str:
    """What an option is for, its range and its default, as argparse takes it."""
    about = []
    if option.low is not None and option.high is not None:
        about.append(f"{option.low:,} to {option.high:,}")
    if option.step:
        about.append(f"a multiple of {option.step}")
    default = defaults().get(option.name)
    if default is not None:
        about.append(f"default: {default}")
    elif option.name in UNSET:
        about.append(f"default: {UNSET[option.name]}")
    text = f"{option.help} ({'; '.join(about)})" if about else option.help
    return text.replace("%", "%%")


async def imagine(config: Config, arguments: argparse.Namespace) -> int:
    """Make the pictures; one JSON line each on stdout, all else on stderr. Returns the status."""
    texts = Texts(LOCALE)
    # a LoRA's tag may hold what rich knows as an emoji, as :x:
    console = Console(stderr=True, emoji=False)
    give_back_prompt(arguments)
    try:
        prompts = await asyncio.to_thread(_prompts, arguments)
        await asyncio.to_thread(_check_out, arguments.out)
        async with a_maker(config) as maker:
            return await _each(prompts, arguments, maker, texts, console)
    except DatabaseError as error:
        say(f"The database can't be used: {error}.", console)
        return 1
    except Refused as refused:
        say(texts(refused.code, **refused.params), console)
        return 1


def give_back_prompt(arguments: argparse.Namespace) -> None:
    """A flag that may stand alone takes what follows it for its value, which may be the prompt."""
    for option in options().values():
        means = "on" if option.switch else option.alone
        taken = getattr(arguments, option.name, None) if means else None
        if arguments.prompt is not None or arguments.prompts is not None or taken is None:
            continue
        # the name of a model is one word, more often than not
        known = taken.casefold() in option.choices if option.choices else " " not in taken
        if not known:
            arguments.prompt = taken
            setattr(arguments, option.name, means)


def _prompts(arguments: argparse.Namespace) -> list[str]:
    """The prompt, or those of a file or of stdin, a line each."""
    if arguments.prompts is not None and arguments.prompt is not None:
        raise Refused("prompt_twice")
    source: Path | None = arguments.prompts
    if arguments.prompt == "-" or source == Path("-"):
        return _lines(sys.stdin.buffer.read(), "stdin")
    if source is None:
        if arguments.prompt is None:
            raise Refused("prompt_empty")
        return [arguments.prompt]
    try:
        return _lines(source.read_bytes(), str(source))
    except OSError as error:
        raise Refused("file_unreadable", file=str(source), why=error.strerror or "") from None


def _lines(content: bytes, name: str) -> list[str]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Refused("file_unreadable", file=name, why="it is not UTF-8 text") from None
    found = [line.strip() for line in text.splitlines() if line.strip()]
    if not found:
        raise Refused("prompt_empty")
    return found


def _check_out(out: Path) -> None:
    """Refuse a folder that the pictures could not be written to, before any is drawn."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise Refused("out_unwritable", folder=str(out), why=error.strerror or str(error)) from None


async def _each(
    prompts: list[str],
    arguments: argparse.Namespace,
    maker: Maker,
    texts: Texts,
    console: Console,
) -> int:
    """All prompts, one after the other; one that fails keeps none of the others from being made."""
    status = 0
    for prompt in prompts:
        try:
            request, remarks = await _request(prompt, maker, arguments, texts)
            for remark in remarks:
                say(remark, console, style="yellow")
            job = await maker.make(request, console)
            await maker.jobs.mark_delivered(job.id)
            if job.state is JobState.FINISHED:
                await _write(maker.jobs, job, arguments.out)
            else:
                failure = job.failure or Failure("internal_error")
                say(texts(failure.code, **failure.params), console)
                status = 1
        except Refused as refused:
            say(texts(refused.code, **refused.params), console)
            status = 1
    return status


async def _request(
    prompt: str, maker: Maker, arguments: argparse.Namespace, texts: Texts
) -> tuple[GenerationRequest, list[str]]:
    """The request, and lines on what of it has no effect. Raises Refused."""
    given: dict[str, Any] = {"prompt": prompt}
    parsed = prompt_flags.parse(prompt)
    told = {
        *parsed.given,
        *parsed.pasted,
        *(n for n, v in vars(arguments).items() if v is not None),
    }
    masked = not {"mask", "mask_words", "extension"}.isdisjoint(told)
    for option in options().values():
        typed = None if option.name == "prompt" else getattr(arguments, option.name)
        if typed is None:
            continue
        several = typed if isinstance(typed, list) else [typed]
        if option.name != "negative_prompt" and not all(text.strip() for text in several):
            raise Refused("flag_empty", flag=option.name.replace("_", "-"))
        if option.name in ("control_picture", "image_prompt"):
            found = [
                (await _upload(maker, Path(each), option.name, masked=masked))[option.name]
                for each in several
            ]
            given[option.name] = found[0] if len(found) == 1 else tuple(found)
        elif option.picture:
            given |= await _upload(maker, Path(typed), option.name, masked=masked)
        elif option.name in ("lora", "controlnet"):
            given[option.name] = typed[0] if len(typed) == 1 else tuple(typed)
        else:
            given[option.name] = option.parse(typed)
    if arguments.aspect is not None:
        given["aspect"] = arguments.aspect
    given = prompt_flags.merge(parsed, stepped(given))
    if "preset" in given:
        raise Refused("preset_needs_chat")
    private = given.pop("private", None)
    sizes = await sizes_of(given, maker.jobs)
    request = completion.complete(given, maker.catalog, maker.config.rules, sizes)
    await check_masked(request, maker.jobs, maker.catalog)
    remarks = [] if private is None else [texts("private_ignored")]
    ignored = prompt_flags.ignored(parsed, given)
    if ignored:
        remarks.append(texts("keys_ignored", keys=_listed(ignored)))
    model = maker.catalog.get(ModelKind.CHECKPOINT, request.model)
    known = vocabulary.of_model(model)
    unknown = vocabulary.unknown_words(known, request.prompt)
    if unknown:
        named = {"unknown": _listed(unknown), "known": _listed(known.words[:KNOWN_SHOWN])}
        remarks.append(texts("words_unknown", model=request.model, **named))
    spaced = spaced_weights(f"{request.prompt} {request.negative_prompt}")
    if spaced:
        remarks.append(texts("weights_spaced", found=_listed(spaced)))
    remarks += [texts(code, model=model.name) for code in abilities.unread(request, model)]
    # the mark of small print is Discord's
    return request, [remark.removeprefix("-# ") for remark in remarks]


def _listed(words: Sequence[str]) -> str:
    return cut(printable(", ".join(words)), WORDS_MAX)


async def _upload(maker: Maker, path: Path, name: str, *, masked: bool) -> dict[str, str]:
    """What the file of an option gives, by option; `masked` where something else says what is
    masked than what is erased of the start picture.
    """
    limits = maker.config.limits
    parts = parts_of(name, masked=masked)
    async with PictureDecoder(limits) as decoder:
        contents = await read_file(path, decoder, limits, list(parts.values()))
    return {
        option: await maker.jobs.keep_upload(content)
        for option, content in zip(parts, contents, strict=True)
        if content
    }


async def _write(jobs: JobStore, job: Job, out: Path) -> None:
    named = [(f"{picture.index + 1}-{picture.seed}", picture) for picture in job.pictures]
    if job.request.show_control == "on":
        named += [(f"control-{n}", seen) for n, seen in enumerate(job.controls_seen, 1)]
    for name, picture in named:
        try:
            file = await jobs.read_picture(picture)
            path = out / f"{job.id:05}-{name}{suffix_of(file)}"
            await asyncio.to_thread(path.write_bytes, file)
        except PictureMissingError:
            raise Refused("own_picture_gone", job=job.id) from None
        except OSError as error:
            why = error.strerror or str(error)
            raise Refused("out_unwritable", folder=str(out), why=why) from None
        line = {"file": printable(str(path)), "width": picture.width, "height": picture.height}
        if picture in job.pictures:
            line |= {"seed": picture.seed, "sha256": picture.pixels_sha256}
        elif picture.index < len(job.request.controls):
            line |= {"controlnet": job.request.controls[picture.index].name}
        else:
            line |= {"mask_words": job.request.mask_words}
        sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    sys.stdout.flush()
