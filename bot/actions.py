"""What people can do with a request and its pictures: one row an action, behind both doors."""

import random
from collections.abc import Callable, Mapping
from typing import Final, Literal

import discord
import msgspec

from generation.job import Job, JobState
from generation.request import RANDOM_SEED_MAX, GenerationRequest

When = Literal["unfinished", "finished"]


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """One action. With `request` it asks for new pictures; without, it acts on the job itself."""

    name: str
    emoji: str
    label: str
    """Key of the button's text."""
    when: When
    style: discord.ButtonStyle = discord.ButtonStyle.secondary
    owner_only: bool = False
    """For the person who asked, and moderators."""
    reaction: bool = True
    """Whether the bot adds the emoji under the result."""
    request: Callable[[Job], GenerationRequest] | None = None


def reroll(job: Job) -> GenerationRequest:
    """The same request with another seed."""
    return job.request.with_(seed=random.randint(0, RANDOM_SEED_MAX))


ACTIONS: Final[Mapping[str, Action]] = {
    action.name: action
    for action in (
        Action(name="reroll", emoji="🔁", label="button_reroll", when="finished", request=reroll),
        Action(name="delete", emoji="❌", label="button_delete", when="finished", owner_only=True),
        Action(
            name="cancel",
            emoji="⛔",
            label="button_cancel",
            when="unfinished",
            owner_only=True,
            reaction=False,
        ),
    )
}


def offered(job: Job) -> list[Action]:
    """The actions that apply to a job as it stands."""
    if job.state is JobState.FINISHED:
        return [action for action in ACTIONS.values() if action.when == "finished"]
    if job.ended:
        return []
    return [action for action in ACTIONS.values() if action.when == "unfinished"]


def by_emoji(emoji: str) -> Action | None:
    """The action of a reaction; the emoji's variation selector does not matter."""
    plain = emoji.replace("\ufe0f", "")
    return next((action for action in ACTIONS.values() if action.emoji == plain), None)
