"""What a message shows: pure functions of a job, an event and a language."""

from dataclasses import dataclass
from typing import Final

import discord

from bot.locales import Texts
from generation.job import Failure, Job, JobState
from generation.messages import Progress

BAR: Final = 14
PROMPT_MAX: Final = 1000
FIELD_MAX: Final = 300
COLOUR: Final = discord.Colour(0x7A6FF0)
COLOUR_FAILED: Final = discord.Colour(0xC0504D)


@dataclass(frozen=True)
class Shown:
    """The text and embed of a message."""

    content: str = ""
    embed: discord.Embed | None = None


def waiting(position: int, texts: Texts) -> Shown:
    """A job in the queue, with so many before it."""
    text = texts("queue_position", count=position) if position else texts("queue_next")
    return Shown(text)


def progress(job: Job, event: Progress, seconds_left: float | None, texts: Texts) -> Shown:
    """A job that is being made."""
    if event.stage != "denoising":
        return Shown(texts(f"stage_{event.stage}", model=job.request.model))
    share = min(1.0, event.step / max(1, event.steps))
    filled = round(share * BAR)
    bar = "▰" * filled + "▱" * (BAR - filled)
    percent = round(share * 100)
    if seconds_left is None:
        return Shown(texts("stage_denoising", bar=bar, percent=percent))
    left = duration(seconds_left, texts)
    return Shown(texts("stage_denoising_left", bar=bar, percent=percent, left=left))


def duration(seconds: float, texts: Texts) -> str:
    """A time as people say it: never less than a second."""
    if seconds < 90:
        return texts("seconds", count=max(1, round(seconds)))
    return texts("minutes", count=round(seconds / 60))


def ended(job: Job, texts: Texts) -> Shown:
    """A job at its end: its parameters, or why it has no pictures."""
    if job.state is JobState.FINISHED:
        return Shown(embed=parameters(job, texts))
    embed = discord.Embed(description=failure(job, texts), colour=COLOUR_FAILED)
    embed.add_field(name=texts("command_imagine"), value=quoted(job.request.prompt, FIELD_MAX))
    return Shown(embed=embed)


def failure(job: Job, texts: Texts) -> str:
    """The sentence that says why a job failed."""
    reason = job.failure or Failure("internal_error")
    return texts(reason.code, **reason.params)


def parameters(job: Job, texts: Texts) -> discord.Embed:
    """The embed under finished pictures: what makes them again."""
    request = job.request
    embed = discord.Embed(description=quoted(request.prompt, PROMPT_MAX), colour=COLOUR)
    if request.negative_prompt:
        negative = quoted(request.negative_prompt, FIELD_MAX)
        embed.add_field(name=texts("field_negative"), value=negative, inline=False)
    seeds = ", ".join(str(seed) for seed in request.seeds)
    fields = {
        "field_model": request.model,
        "field_size": f"{request.width} × {request.height}",
        "field_steps": str(request.steps),
        "field_sampler": request.sampler,
        "field_guidance": f"{request.guidance_scale:g}",
        "field_seed" if request.count == 1 else "field_seeds": seeds,
    }
    if request.loras:
        fields["field_lora"] = ", ".join(f"{use.name} × {use.weight:g}" for use in request.loras)
    if request.controls:
        nets = (f"{use.name} × {use.scale:g}" for use in request.controls)
        fields["field_controlnet"] = ", ".join(nets)
    if request.init_picture:
        fields["field_denoising"] = f"{request.denoising_strength:g}"
    for key, value in fields.items():
        embed.add_field(name=texts(key), value=quoted(value, FIELD_MAX))
    embed.set_footer(text=footer(job, texts))
    return embed


def footer(job: Job, texts: Texts) -> str:
    """The job's number, where it comes from, and how long it took."""
    seconds = f"{job.making.seconds:.1f}" if job.making else "?"
    if job.parent is None:
        return texts("footer", job=job.id, seconds=seconds)
    action = texts(f"action_{job.action}")
    return texts("footer_parent", job=job.id, action=action, parent=job.parent, seconds=seconds)


def quoted(text: str, limit: int) -> str:
    """People's text without markup or mentions, and not too long for an embed."""
    plain = discord.utils.escape_markdown(text)
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"
