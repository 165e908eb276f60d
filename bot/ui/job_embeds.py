"""What a message shows: pure functions of a job, an event and a language."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import discord

from bot.locales import Texts
from bot.ui import description_embed, finish_lines
from bot.ui.formatting import COLOUR, COLOUR_FAILED, duration, fitted, one_line, quoted, sentence
from generation import metadata, replay
from generation.control_uses import Unmade
from generation.enlarging import NO_UPSCALER
from generation.families.control import USUAL_KIND
from generation.job import Failure, Job, JobState, PictureRecord
from generation.memory_words import WORDS
from generation.messages import Progress
from generation.metadata import About
from generation.preprocessors import NONE
from generation.request import GenerationRequest
from generation.request_parts import ControlUse, Extension, ImagePrompt, LoraUse
from generation.samplers import sampler_of, schedule_of
from generation.schedule import Planned
from generation.worker_pool import Awaited

BAR: Final = 14
STAGES_WITH_BAR: Final = {
    "denoising": ("stage_denoising", "stage_denoising_left"),
    "enlarging": ("stage_enlarging", "stage_enlarging_left"),
    "hires": ("stage_hires", "stage_hires_left"),
    "faces": ("stage_faces", "stage_faces_left"),
    "cutout": ("stage_cutout", "stage_cutout_left"),
}
"""Without and with the time that is left."""
PROMPT_MAX: Final = 1000
PROMPT_MAX_ON_THE_WAY: Final = 300
FIELD_MAX: Final = 300
KEYS_SHOWN: Final = 10
KEY_MAX: Final = 50
AUTHOR_MAX: Final = 256
"""Discord's bound."""


@dataclass(frozen=True)
class MessageBody:
    """The text and embed of a message."""

    content: str = ""
    embed: discord.Embed | None = None


@dataclass(frozen=True)
class Surroundings:
    """What a message says of a job that the job itself does not hold."""

    parent: Job | None = None
    """The job that it came of."""
    unknown: tuple[str, ...] = ()
    """Words of the prompt that its model has never seen."""
    known: tuple[str, ...] = ()
    """Some words that it knows."""
    spaced: tuple[str, ...] = ()
    """What would be weights but for a space beside their numbers."""
    untold: tuple[str, ...] = ()
    """ControlNet Unions that nobody told the kind of their picture."""
    unmade: tuple[Unmade, ...] = ()
    """Control pictures of which nothing is made, for want of a file."""
    unread: tuple[str, ...] = ()
    """What of the request its model does not read, as sentences."""


NO_SURROUNDINGS: Final = Surroundings()


def waiting(planned: Planned, now: datetime, texts: Texts) -> MessageBody:
    """A job in the queue, with what is before it; Discord counts the time down by itself."""
    place = planned.place
    text = texts("queue_position", count=place) if place else texts("queue_next")
    done = now + timedelta(seconds=planned.seconds_until_done)
    return MessageBody(texts("queue_done", place=text, when=discord.utils.format_dt(done, "R")))


def awaiting(job: Job, awaited: Awaited, texts: Texts) -> MessageBody:
    """A job that waits for programs or machines that are not there now."""
    return MessageBody(awaits(awaited, job.request.made_with, texts))


def awaits(awaited: Awaited, model: str, texts: Texts) -> str:
    """The sentence that names them; those that draw here go before machines that have `model`."""
    here = bool(awaited.programs)
    named = quoted(", ".join(awaited.programs if here else awaited.hosts), FIELD_MAX)
    count = len(awaited.programs if here else awaited.hosts)
    key = "queue_awaits_program" if here else "queue_awaits"
    return texts(key, workers=named, count=count, model=quoted(model, FIELD_MAX))


def progress(job: Job, event: Progress, seconds_left: float | None, texts: Texts) -> MessageBody:
    """A job that is being made."""
    keys = STAGES_WITH_BAR.get(event.stage)
    if keys is None:
        return MessageBody(
            texts(f"stage_{event.stage}", model=quoted(job.request.model, FIELD_MAX))
        )
    share = min(1.0, max(0.0, event.step / max(1, event.steps)))
    filled = round(share * BAR)
    bar = "▰" * filled + "▱" * (BAR - filled)
    percent = round(share * 100)
    if seconds_left is None:
        return MessageBody(texts(keys[0], bar=bar, percent=percent))
    left = duration(seconds_left, texts)
    return MessageBody(texts(keys[1], bar=bar, percent=percent, left=left))


def subject(job: Job, texts: Texts) -> str:
    """What a job is about: its prompt, or that a picture which was not drawn here is enlarged."""
    made, described = job.request.enlargement, job.request.describing
    if described is not None:
        seen = job.description.prompt if job.description is not None else ""
        return seen or texts("subject_described", width=described.width, height=described.height)
    if job.request.prompt or made is None:
        return job.request.prompt
    return texts("subject_enlarged", width=made.from_width, height=made.from_height)


def asked(job: Job, texts: Texts, around: Surroundings = NO_SURROUNDINGS) -> discord.Embed:
    """What is asked for and by whom, while it waits and is made."""
    prompt = quoted(subject(job, texts), PROMPT_MAX_ON_THE_WAY)
    return _named(discord.Embed(description=prompt, colour=COLOUR), job, texts, around)


def who_asked(job: Job, texts: Texts, around: Surroundings = NO_SURROUNDINGS) -> str:
    """The name of who asked, and whose picture theirs came of; empty where it is not known."""
    who, parent = job.origin.user_name, around.parent
    if not who or parent is None:
        return who
    action = texts(f"action_{job.action}")
    if parent.origin.user_id == job.origin.user_id or parent.origin.private:
        return texts("asked_after", who=who, action=action, parent=parent.id)
    whose = parent.origin.user_name
    return texts("asked_after_other", who=who, action=action, parent=parent.id, whose=whose)


def _named(
    embed: discord.Embed, job: Job, texts: Texts, around: Surroundings = NO_SURROUNDINGS
) -> discord.Embed:
    name = who_asked(job, texts, around)
    return embed.set_author(name=name[:AUTHOR_MAX]) if name else embed


def words_unknown(around: Surroundings, texts: Texts, model: str) -> str:
    """The line that names the words that mean nothing to the model; empty where there are none."""
    if not around.unknown:
        return ""
    unknown, known = (quoted(", ".join(w), FIELD_MAX) for w in (around.unknown, around.known))
    return texts("words_unknown", model=quoted(model, FIELD_MAX), unknown=unknown, known=known)


def keys_ignored(keys: Sequence[str], texts: Texts) -> str:
    """The line that names keys of pasted generation data that mean nothing here; empty where there
    are none.
    """
    if not keys:
        return ""
    named = ", ".join(quoted(one_line(key), KEY_MAX) for key in keys[:KEYS_SHOWN])
    return texts("keys_ignored", keys=named + (", …" if len(keys) > KEYS_SHOWN else ""))


def weights_spaced(found: Sequence[str], texts: Texts) -> str:
    """The line that names what would be a weight but for a space; empty where there is none."""
    if not found:
        return ""
    named = quoted(one_line(", ".join(found[:KEYS_SHOWN])), FIELD_MAX)
    return texts("weights_spaced", found=named)


def kinds_untold(unions: Sequence[str], texts: Texts) -> str:
    """The line that says what unions took their pictures for; empty where all were told."""
    if not unions:
        return ""
    named = quoted(one_line(", ".join(unions)), FIELD_MAX)
    return texts("kind_untold", names=named, kind=USUAL_KIND)


def controls_unmade(found: Sequence[Unmade], texts: Texts) -> Iterator[str]:
    """Lines that name the files without which a ControlNet is handed its picture as it is."""
    for one in dict.fromkeys(found):
        missing = texts(f"annotator_missing_{one.annotator}", name=one.preprocessor)
        net = quoted(one_line(one.net), FIELD_MAX)
        yield texts("control_unmade", net=net, preprocessor=one.preprocessor, missing=missing)


def memory_spared(job: Job, texts: Texts) -> str:
    """What was changed after memory ran out; empty where nothing was."""
    changed = job.provenance.spared if job.provenance is not None else ()
    known = [code for code in changed if code in WORDS]
    if not known:
        return ""
    return texts("memory_spared", changes=", ".join(texts(code) for code in known))


def remarks(job: Job, texts: Texts, around: Surroundings) -> str:
    """Lines on what was written that had no effect, for who wrote it to read beside the job."""
    lines = (
        keys_ignored(job.origin.ignored, texts),
        words_unknown(around, texts, job.request.model),
        weights_spaced(around.spaced, texts),
        kinds_untold(around.untold, texts),
        *controls_unmade(around.unmade, texts),
        *(texts(code, model=quoted(job.request.model, FIELD_MAX)) for code in around.unread),
        memory_spared(job, texts),
        *finish_lines.remarks(job, texts),
    )
    return "\n".join(filter(None, lines))


def ended(job: Job, texts: Texts, around: Surroundings = NO_SURROUNDINGS) -> MessageBody:
    """A job at its end: its parameters, or why it has no pictures."""
    if job.state is JobState.FINISHED:
        return MessageBody(remarks(job, texts, around), parameters(job, texts, around))
    embed = discord.Embed(description=failure(job, texts), colour=COLOUR_FAILED)
    _named(embed, job, texts, around)
    about = quoted(subject(job, texts), FIELD_MAX)
    embed.add_field(name=texts("command_imagine"), value=about)
    return MessageBody(keys_ignored(job.origin.ignored, texts), fitted(embed))


def replayed(first: Job, second: Job, texts: Texts) -> str:
    """Whether pictures that were made again are the same, and if not, what has changed since."""
    if replay.same_pictures(first, second):
        return texts("replay_same", job=first.id)
    found: list[replay.Change] = []
    if first.provenance and second.provenance:
        found = replay.changes(first.provenance, second.provenance)
    names = [
        texts(f"change_{change.what}", name=change.name, before=change.before, now=change.now)
        for change in found
    ]
    said = ", ".join(names) or texts("change_unknown")
    return texts("replay_differs", job=first.id, changes=quoted(said, 600))


def failure(job: Job, texts: Texts) -> str:
    """The sentence that says why a job failed."""
    reason = job.failure or Failure("internal_error")
    return sentence(texts, reason.code, reason.params)


def parameters(job: Job, texts: Texts, around: Surroundings = NO_SURROUNDINGS) -> discord.Embed:
    """The embed under finished pictures: what makes them again."""
    request = job.request
    description = quoted(subject(job, texts), PROMPT_MAX)
    if job.description is not None:
        description = description_embed.body(job.description, texts)
    embed = discord.Embed(description=description, colour=COLOUR)
    _named(embed, job, texts, around)
    if request.negative_prompt:
        negative = quoted(request.negative_prompt, FIELD_MAX)
        embed.add_field(name=texts("field_negative"), value=negative, inline=False)
    for key, value in _fields(job, texts):
        embed.add_field(name=texts(key), value=quoted(value, FIELD_MAX))
    embed.set_footer(text=footer(job, texts))
    return fitted(embed)


def _fields(job: Job, texts: Texts) -> Iterator[tuple[str, str]]:
    """Key and text of each field; seeds are numbers to copy, the others numbers to read."""
    request, number = job.request, texts.number
    if request.describing is not None:
        if job.description is not None:
            yield from description_embed.fields(job.description, request.describing, texts)
        return
    if job.preset:
        own = texts("preset_personal", name=job.preset.name)
        yield "field_preset", own if job.preset.own else job.preset.name
    width, height = request.size
    if job.pictures:
        # where only what is masked was drawn, it is that of the whole picture
        width, height = job.pictures[0].width, job.pictures[0].height
    made = request.enlargement
    if made is not None and made.control is not None:
        yield "field_preprocessor", made.control.preprocessor
    if made is not None and made.upscaler != NO_UPSCALER:
        yield "field_upscaler", f"{made.upscaler} × {number(round(made.factor, 2))}"
    if not request.prompt:
        yield "field_size", f"{width} × {height}"
        yield from finish_lines.fields(job, texts)
        return
    yield "field_model", request.model
    if request.refiner is not None:
        switch = number(request.refiner_switch)
        yield "field_refiner", texts("refiner", name=request.refiner, switch=switch)
    yield "field_size", f"{width} × {height}"
    if request.mode is not None:
        yield "field_mode", _mode(request, texts)
    if request.hires is not None:
        yield "field_hires", _hires(request, texts)
    yield "field_steps", number(request.steps)
    yield "field_sampler", f"{sampler_of(request)}, {schedule_of(request)}"
    yield "field_guidance", number(request.guidance_scale)
    if request.image_guidance_scale is not None:
        yield "field_image_guidance", number(request.image_guidance_scale)
    seeds = dict.fromkeys(request.seeds)
    yield "field_seed" if len(seeds) == 1 else "field_seeds", ", ".join(map(str, seeds))
    variations = [str(seed) for seed in request.variation_seeds if seed is not None]
    if variations:
        seeds_of = "field_variation_seed" if len(variations) == 1 else "field_variation_seeds"
        yield seeds_of, ", ".join(variations)
        yield "field_variation_strength", number(request.variation_strength)
    if request.lineage:
        yield "field_lineage", texts("lineage", count=len(request.lineage))
    if request.loras:
        yield "field_lora", ", ".join(_lora(use, texts) for use in request.loras)
    if request.controls:
        yield "field_controlnet", ", ".join(_control(use, texts) for use in request.controls)
    if request.image_prompts:
        told = (_prompted(prompt, texts) for prompt in request.image_prompts)
        yield "field_ip_adapter", ", ".join(told)
    if request.init_picture and not (request.edits and request.denoising_strength == 1):
        yield "field_denoising", number(request.denoising_strength)
    if request.extension is not None:
        yield "field_extension", _extension(request.extension, texts)
    elif request.has("mask"):
        yield "field_mask", ", ".join(_mask(request, texts))
    if made is not None and made.denoising_strength:
        yield "field_second_pass", number(made.denoising_strength)
    yield from finish_lines.fields(job, texts)


def _extension(made: Extension, texts: Texts) -> str:
    """To which sides a picture has grown, and how much smaller it is if it is that."""
    arrows = {"left": "⬅️", "right": "➡️", "top": "⬆️", "bottom": "⬇️"}
    return " ".join(
        f"{arrow} {texts.number(getattr(made, side))}"
        for side, arrow in arrows.items()
        if getattr(made, side)
    )


def _mask(request: GenerationRequest, texts: Texts) -> Iterator[str]:
    """What is said of its mask beside the usual."""
    if request.mask_words is not None:
        yield texts("mask_by_words", words=one_line(request.mask_words))
    yield texts("mask_blurred", blur=request.mask_blur)
    if request.mask_mode == "not masked":
        yield texts("mask_not_masked")
    if request.masked_content != "original":
        yield texts(f"masked_content_{request.masked_content.replace(' ', '_')}")
    if request.inpaint_area == "only masked":
        yield texts("mask_only", padding=request.mask_padding)
    if request.differential == "on":
        yield texts("mask_differential")


def _mode(request: GenerationRequest, texts: Texts) -> str:
    """Its mode, and what makes a draft fast."""
    said, full = texts(f"mode_{request.mode}"), request.full
    if full is None:
        return said
    by = full.lora or (request.model if full.model != request.model else None)
    return f"{said} · {by}" if by else said


def _hires(request: GenerationRequest, texts: Texts) -> str:
    """From which size it was enlarged, by what, and how much of it was drawn anew."""
    strength = texts.number(request.hires_denoising or 0)
    said = f"{request.width} × {request.height} → {request.hires_upscaler}, {strength}"
    if request.hires_steps:
        said += f", {texts('hires_steps', steps=texts.number(request.hires_steps))}"
    own = (request.hires_model, request.hires_sampler, request.hires_schedule)
    return ", ".join([said, *filter(None, own)])


def _prompted(prompt: ImagePrompt, texts: Texts) -> str:
    told: list[str] = [] if prompt.kind == "whole" else [prompt.kind]
    if len(prompt.pictures) > 1:
        told.append(texts.number(len(prompt.pictures)))
    if prompt.start > 0 or prompt.end < 1:
        told.append(f"{texts.number(prompt.start)} – {texts.number(prompt.end)}")
    behind = f" ({', '.join(told)})" if told else ""
    return f"{prompt.name} × {texts.number(prompt.weight)}{behind}"


def controls_seen(job: Job, texts: Texts) -> str:
    """Lines that say which ControlNet was shown which picture, and which is a mask."""
    request = job.request
    named = [_control(use, texts) for use in request.controls]
    named.append(texts("mask_by_words", words=request.mask_words or ""))
    return "\n".join(
        texts(
            "control_seen",
            net=quoted(one_line(named[one.index]), FIELD_MAX),
            width=one.width,
            height=one.height,
        )
        for one in job.controls_seen
    )


def _control(use: ControlUse, texts: Texts) -> str:
    told = [use.kind] if use.kind is not None else []
    if use.preprocessor not in (NONE, use.kind):
        told.append(use.preprocessor)
    if use.start > 0 or use.end < 1:
        told.append(f"{texts.number(use.start)} – {texts.number(use.end)}")
    if use.mode != "balanced":
        told.append(texts(f"control_mode_{use.mode}"))
    return f"{use.name} × {texts.number(use.scale)}" + (f" ({', '.join(told)})" if told else "")


def _lora(use: LoraUse, texts: Texts) -> str:
    weight = texts.number(use.weight)
    if use.te_weight is None:
        return f"{use.name} × {weight}"
    return texts("lora_two_weights", name=use.name, weight=weight, te=texts.number(use.te_weight))


def picture(job: Job, shown: PictureRecord, texts: Texts) -> discord.Embed:
    """The embed under one picture among several."""
    description = quoted(subject(job, texts), PROMPT_MAX)
    embed = discord.Embed(description=description, colour=COLOUR)
    _named(embed, job, texts)
    embed.add_field(name=texts("field_size"), value=f"{shown.width} × {shown.height}")
    embed.add_field(name=texts("field_seed"), value=str(shown.seed))
    if shown.variation_seed is not None:
        embed.add_field(name=texts("field_variation_seed"), value=str(shown.variation_seed))
        strength = texts.number(job.request.variation_strength)
        embed.add_field(name=texts("field_variation_strength"), value=strength)
    embed.set_footer(text=texts("footer_picture", job=job.id, number=shown.index + 1))
    return fitted(embed)


def infotext(job: Job, shown: PictureRecord) -> str:
    """What A1111 writes into its pictures, for one picture of a finished job."""
    about = About(
        request=job.request,
        index=shown.index,
        seed=shown.seed,
        hashes=job.provenance.hashes if job.provenance else {},
        versions=job.provenance.versions if job.provenance else {},
    )
    return metadata.infotext(about)


def footer(job: Job, texts: Texts) -> str:
    """The job's number, where it comes from, and how long it took."""
    seconds = texts.number(round(job.provenance.seconds, 1)) if job.provenance else "?"
    if job.parent is None:
        return texts("footer", job=job.id, seconds=seconds)
    action = texts(f"action_{job.action}")
    return texts("footer_parent", job=job.id, action=action, parent=job.parent, seconds=seconds)
