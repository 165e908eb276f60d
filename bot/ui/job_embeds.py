"""What a message shows: pure functions of a job, an event and a language."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import discord

from bot.locales import Texts
from bot.ui.formatting import COLOUR, COLOUR_FAILED, duration, quoted
from generation import metadata, replay
from generation.job import Failure, Job, JobState, PictureRecord
from generation.messages import Progress
from generation.metadata import About
from generation.schedule import Planned

BAR: Final = 14
PROMPT_MAX: Final = 1000
FIELD_MAX: Final = 300


@dataclass(frozen=True)
class MessageBody:
    """The text and embed of a message."""

    content: str = ""
    embed: discord.Embed | None = None


def waiting(planned: Planned, now: datetime, texts: Texts) -> MessageBody:
    """A job in the queue, with what is before it; Discord counts the time down by itself."""
    place = planned.place
    text = texts("queue_position", count=place) if place else texts("queue_next")
    done = now + timedelta(seconds=planned.seconds_until_done)
    return MessageBody(texts("queue_done", place=text, when=discord.utils.format_dt(done, "R")))


def progress(job: Job, event: Progress, seconds_left: float | None, texts: Texts) -> MessageBody:
    """A job that is being made."""
    if event.stage != "denoising":
        return MessageBody(texts(f"stage_{event.stage}", model=job.request.model))
    share = min(1.0, event.step / max(1, event.steps))
    filled = round(share * BAR)
    bar = "▰" * filled + "▱" * (BAR - filled)
    percent = round(share * 100)
    if seconds_left is None:
        return MessageBody(texts("stage_denoising", bar=bar, percent=percent))
    left = duration(seconds_left, texts)
    return MessageBody(texts("stage_denoising_left", bar=bar, percent=percent, left=left))


def ended(job: Job, texts: Texts) -> MessageBody:
    """A job at its end: its parameters, or why it has no pictures."""
    if job.state is JobState.FINISHED:
        return MessageBody(embed=parameters(job, texts))
    embed = discord.Embed(description=failure(job, texts), colour=COLOUR_FAILED)
    embed.add_field(name=texts("command_imagine"), value=quoted(job.request.prompt, FIELD_MAX))
    return MessageBody(embed=embed)


def remarks(texts: Texts, *, held_back: int = 0, missing: int = 0, lightened: bool = False) -> str:
    """What is said above pictures that are not shown as they were made."""
    found = [texts("held_back", count=held_back)] if held_back else []
    if missing:
        found.append(texts("pictures_missing", count=missing))
    if lightened:
        found.append(texts("reencoded"))
    return "\n".join(found)


def replayed(first: Job, second: Job, texts: Texts) -> str:
    """Whether pictures that were made again are the same, and if not, what has changed since."""
    if replay.same_pictures(first, second):
        return texts("replay_same", job=first.id)
    found: list[replay.Change] = []
    if first.provenance and second.provenance:
        found = replay.changes(first.provenance, second.provenance)
    names = [texts(f"change_{change.what}", name=change.name) for change in found]
    said = ", ".join(names) or texts("change_unknown")
    return texts("replay_differs", job=first.id, changes=quoted(said, 600))


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


def picture(job: Job, shown: PictureRecord, texts: Texts) -> discord.Embed:
    """The embed under one picture among several."""
    embed = discord.Embed(description=quoted(job.request.prompt, PROMPT_MAX), colour=COLOUR)
    embed.add_field(name=texts("field_size"), value=f"{shown.width} × {shown.height}")
    embed.add_field(name=texts("field_seed"), value=str(shown.seed))
    embed.set_footer(text=texts("footer_picture", job=job.id, number=shown.index + 1))
    return embed


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
    seconds = f"{job.provenance.seconds:.1f}" if job.provenance else "?"
    if job.parent is None:
        return texts("footer", job=job.id, seconds=seconds)
    action = texts(f"action_{job.action}")
    return texts("footer_parent", job=job.id, action=action, parent=job.parent, seconds=seconds)
