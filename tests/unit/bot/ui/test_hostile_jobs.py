"""Whatever a job holds, what is shown of it is something that Discord takes."""

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from bot.features.catalogue import model_embed
from bot.features.history import entries
from bot.locales import LOCALES, Texts
from bot.ui import action_buttons, job_embeds
from bot.ui.job_embeds import Surroundings
from generation.job import Failure, Job, JobState, PictureRecord, PresetUse, Provenance
from generation.messages import Progress
from generation.models import ModelFile, ModelKind
from generation.request_parts import LoraUse
from generation.schedule import Planned
from playground.validation.embeds import check_embeds
from playground.validation.form import Form
from tests.fixtures import fuzz
from tests.fixtures.requests import REQUEST, an_origin

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("", " ", "a_*" * 1000, "名" * 300, "[" * 300 + "](" * 300, "`" * 4000, "1" * 4301)
STAGES: tuple[Literal["loading", "denoising"], ...] = ("loading", "denoising")
NUMBERS = (0, 1, -1, 2**63, 10**300, -(10**30))


def a_job(chance: random.Random, text: str) -> Job:
    """A job of nothing but texts and numbers that nobody should have let through."""

    def name() -> str:
        return chance.choice((*NAMES, text))

    def number() -> int:
        return chance.choice(NUMBERS)

    request = msgspec.structs.replace(
        REQUEST,
        prompt=name(),
        negative_prompt=name(),
        model=name(),
        sampler=name(),
        width=number(),
        steps=number(),
        seed=number(),
        guidance_scale=float(number()),
        count=chance.choice((1, 4, 10)),
        loras=tuple(LoraUse(name(), float(number())) for _ in range(chance.choice((0, 1, 40)))),
    )
    pictures = tuple(
        PictureRecord(
            index=i, seed=number(), width=number(), height=1, file=name(), pixels_sha256=name()
        )
        for i in range(chance.choice((0, 1, 10)))
    )
    provenance = Provenance(
        seconds=float(number()),
        seconds_loading=0.0,
        batch_size=1,
        memory_peak=0,
        hashes={name(): name()},
        versions={name(): name()},
    )
    return Job(
        id=abs(number()) % 10**18,
        state=chance.choice(tuple(JobState)),
        request=request,
        origin=an_origin(
            locale=chance.choice((*LOCALES, "", "xx")),
            user_name=name(),
            ignored=chance.choice(((), NAMES * 3)),
        ),
        created_at=NOW,
        preset=chance.choice((None, PresetUse(name(), 3, chance.random() < 0.5))),
        parent=chance.choice((None, 3)),
        action=chance.choice(("reroll", name())),
        failure=chance.choice((None, Failure(name(), {name(): name()}), Failure("no_models"))),
        provenance=chance.choice((None, provenance)),
        pictures=pictures,
    )


def holds(shown: Any) -> None:
    """Raise unless Discord takes it."""
    form = Form()
    embeds = [shown.embed.to_dict()] if shown.embed is not None else []
    check_embeds(form, {"embeds": embeds})
    form.done()
    assert len(shown.content) <= 2000


@pytest.mark.slow
@pytest.mark.parametrize("count", fuzz.CASES)
def test_any_job_is_shown_within_discords_bounds(count: int) -> None:
    chance = random.Random(count)
    for text in fuzz.texts(count, ["*", "_", "[", "](", "`"], 8):
        job = a_job(chance, text)
        texts = Texts(job.origin.locale)
        around = Surroundings(chance.choice((None, job)), (text,) * 9, NAMES)
        holds(job_embeds.ended(job, texts, around))
        holds(job_embeds.MessageBody(embed=job_embeds.asked(job, texts, around)))
        holds(job_embeds.MessageBody(embed=job_embeds.parameters(job, texts)))
        for picture in job.pictures[:1]:
            holds(job_embeds.MessageBody(embed=job_embeds.picture(job, picture, texts)))
        event = Progress(str(job.id), chance.choice(STAGES), step=chance.choice(NUMBERS), steps=0)
        left = chance.choice((None, 0.0, 1e12))
        holds(job_embeds.progress(job, event, left, texts))
        holds(job_embeds.waiting(Planned(job, chance.choice((0, 5)), 1.0, 60.0, False), NOW, texts))
        assert len(entries.entry(job, texts)) <= 1000
        assert len(entries.tree([(0, job), (1, job)] * 9, job.id, {job.id}, texts)) <= 2000
        replayed = msgspec.structs.replace(job, provenance=None)
        assert len(job_embeds.replayed(job, replayed, texts)) <= 2000
        assert len(action_buttons.view(job, texts, lambda _target, _job: True).children) <= 25


@pytest.mark.parametrize("count", fuzz.CASES)
def test_any_model_is_shown_within_discords_bounds(count: int) -> None:
    chance = random.Random(count)
    for text in fuzz.texts(count, ["*", "`", "[", "]("], 8):
        names = (*NAMES, text)
        model = ModelFile(
            kind=chance.choice(tuple(ModelKind)),
            name=chance.choice(names),
            path=Path("model.safetensors"),
            family=chance.choice(("sd15", "", text)),
            trigger_words=tuple(chance.choice(names) for _ in range(chance.choice((0, 1, 40)))),
            size=chance.choice((0, 2**40)),
        )
        form = Form()
        embed = model_embed(model, Texts("en-US"))
        # eight of them are a message
        check_embeds(form, {"embeds": [embed.to_dict()] * 8})
        form.done()
