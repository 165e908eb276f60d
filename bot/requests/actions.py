"""What people can do with a request and its pictures: one row an action, behind both doors."""

from collections.abc import Callable, Mapping
from typing import Final, Literal

import msgspec

from bot.requests.derived import (
    Source,
    describe,
    extend,
    finished,
    hd,
    hires,
    reroll,
    vary_strong,
    vary_subtle,
)
from generation import outpainting
from generation.enlarging import NO_WISH, Wish
from generation.job import Job, JobState
from generation.request import GenerationRequest

NUMBERS: Final = ("1️⃣", "2️⃣", "3️⃣", "4️⃣", "5️⃣", "6️⃣", "7️⃣", "8️⃣", "9️⃣", "🔟")
On = Literal[
    "unfinished",
    "failed",
    "job",
    "picture",
    "either",
    "controlled",
    "pick",
    "described",
    "history",
]
"""What an action is offered on: a request that is not finished, one that failed or was cancelled,
one with its pictures, one single picture, either of these, both where a ControlNet was shown
something, each picture among several, what was seen in a picture, or an entry of somebody's own
history."""


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """One action. With `request` it asks for new pictures; without, its handler does it."""

    name: str
    emoji: str
    label: str
    """Key of the button's text."""
    on: On
    danger: bool = False
    """Nothing brings back what it deletes."""
    invites: bool = True
    """Whether the bot adds the emoji under the result; it works as a reaction in any case."""
    posts: bool = True
    """Whether it posts something where the picture is."""
    draws: bool = True
    """Whether it asks the job's model for something, where it asks for pictures."""
    repeats: bool = False
    """Whether its handler asks for the job's own request once more."""
    written: bool = False
    """Whether a person writes a prompt in it; who presses a button has been told of the words."""
    apart: bool = False
    """Whether its button stands in a row of its kind: where to a picture grows."""
    rare: bool = False
    """Whether its button stands behind *More…*, as it is rarely pressed."""
    request: Callable[[Source], GenerationRequest] | None = None
    wish: Wish = NO_WISH
    """What is done to a finished picture."""

    @property
    def asks(self) -> bool:
        """Whether it asks for pictures at once, without a dialog."""
        return self.request is not None or self.repeats


class ActionTarget(msgspec.Struct, frozen=True):
    """An action on a job, or on one of its pictures."""

    action: Action
    index: int | None = None

    @property
    def emoji(self) -> str:
        """The action's emoji; for a pick, the number of its picture."""
        if self.action.on == "pick" and self.index is not None:
            return NUMBERS[self.index]
        return self.action.emoji


Accepts = Callable[[ActionTarget, Job], bool]
"""Whether this machine would do what is asked for there; a person may still be refused."""


ACTIONS: Final[Mapping[str, Action]] = {
    action.name: action
    for action in (
        Action(name="reroll", emoji="🔁", label="button_reroll", on="job", request=reroll),
        Action(name="pick", emoji="🔢", label="", on="pick"),
        Action(
            name="upscale",
            emoji="🔍",
            label="button_upscale",
            on="picture",
            request=finished,
            draws=False,
        ),
        Action(
            name="faces",
            rare=True,
            emoji="🙂",
            label="button_faces",
            on="picture",
            invites=False,
            request=finished,
            draws=False,
            wish=Wish(larger=False, faces="all"),
        ),
        Action(
            name="cutout",
            rare=True,
            emoji="✂️",
            label="button_cutout",
            on="picture",
            invites=False,
            request=finished,
            draws=False,
            wish=Wish(larger=False, cutout=True),
        ),
        Action(
            name="hires",
            rare=True,
            emoji="✨",
            label="button_hires",
            on="picture",
            invites=False,
            request=hires,
        ),
        Action(
            name="hd",
            emoji="🆙",
            label="button_hd",
            on="picture",
            invites=False,
            request=hd,
        ),
        Action(
            name="vary_subtle",
            emoji="🪄",
            label="button_vary_subtle",
            on="picture",
            request=vary_subtle,
        ),
        Action(
            name="vary_strong",
            emoji="🎲",
            label="button_vary_strong",
            on="picture",
            request=vary_strong,
        ),
        *(
            Action(
                name=name,
                emoji=emoji,
                label=label,
                on="picture",
                invites=False,
                apart=name.startswith("pan_"),
                request=extend(sides),
            )
            for name, label, emoji, sides in (
                ("pan_left", "button_pan_left", "⬅️", outpainting.LEFT),
                ("pan_right", "button_pan_right", "➡️", outpainting.RIGHT),
                ("pan_up", "button_pan_up", "⬆️", outpainting.UP),
                ("pan_down", "button_pan_down", "⬇️", outpainting.DOWN),
                ("zoom_out", "button_zoom_out", "🔭", outpainting.ZOOM_OUT),
                ("zoom_out_more", "button_zoom_out_more", "🌍", outpainting.ZOOM_OUT_MORE),
            )
        ),
        Action(
            name="redraw",
            rare=True,
            emoji="🩹",
            label="button_redraw",
            on="picture",
            invites=False,
            written=True,
        ),
        Action(
            name="extend",
            rare=True,
            emoji="↔️",
            label="button_extend",
            on="picture",
            invites=False,
            apart=True,
            written=True,
        ),
        Action(
            name="start",
            rare=True,
            emoji="🖼️",
            label="button_start",
            on="picture",
            invites=False,
            written=True,
        ),
        Action(
            name="add_control",
            rare=True,
            emoji="➕",
            label="button_add_control",
            on="either",
            invites=False,
        ),
        # a reaction can't open a dialog, so these three answer with the button that can
        Action(
            name="edit",
            emoji="✏️",
            label="button_edit",
            on="either",
            invites=False,
            written=True,
        ),
        Action(
            name="describe",
            rare=True,
            emoji="🏷️",
            label="button_description",
            on="picture",
            request=describe,
            invites=False,
            draws=False,
        ),
        Action(
            name="imagine_this",
            emoji="🎨",
            label="button_imagine_this",
            on="described",
            invites=False,
            written=True,
        ),
        Action(
            name="edit_words",
            emoji="🖌️",
            label="button_edit_words",
            on="either",
            invites=False,
            written=True,
        ),
        Action(name="parameters", emoji="📋", label="button_parameters", on="either", posts=False),
        Action(
            name="show_control",
            rare=True,
            emoji="👁️",
            label="button_show_control",
            on="controlled",
            invites=False,
            posts=False,
        ),
        Action(name="favourite", emoji="⭐", label="button_favourite", on="either", posts=False),
        Action(
            name="delete",
            emoji="❌",
            label="button_delete",
            on="either",
            posts=False,
        ),
        Action(
            name="cancel",
            emoji="⛔",
            label="button_cancel",
            on="unfinished",
            posts=False,
        ),
        Action(
            name="retry",
            emoji="✏️",
            label="button_retry",
            on="failed",
            invites=False,
            written=True,
        ),
        Action(name="replay", emoji="⏪", label="button_replay", on="history", repeats=True),
        Action(name="send", emoji="📤", label="button_send", on="history"),
        Action(
            name="forget",
            emoji="🗑️",
            label="button_forget",
            on="history",
            danger=True,
        ),
    )
}


def applying(job: Job, index: int | None = None) -> list[ActionTarget]:
    """What applies to a message that shows a job, or only its picture `index`; it may be refused
    for what this machine makes.
    """
    if not job.ended:
        return [ActionTarget(ACTIONS["cancel"])]
    if job.state is not JobState.FINISHED:
        return [ActionTarget(action) for action in ACTIONS.values() if action.on == "failed"]
    if job.request.describing is not None:
        found = [ActionTarget(action) for action in ACTIONS.values() if action.on == "described"]
        return [*found, ActionTarget(ACTIONS["delete"])]
    several = index is None and len(job.pictures) > 1
    one = index if index is not None or several or not job.pictures else job.pictures[0].index
    found = []
    for action in ACTIONS.values():
        match action.on:
            case "job" if index is None:
                found.append(ActionTarget(action))
            case "pick" if several:
                found += [ActionTarget(action, picture.index) for picture in job.pictures]
            case "picture" if one is not None:
                found.append(ActionTarget(action, one))
            case "controlled" if job.controls_seen:
                found.append(ActionTarget(action, index))
            case "either":
                found.append(ActionTarget(action, index))
    return found


def offered(job: Job, index: int | None, accepts: Accepts) -> list[ActionTarget]:
    """Of that, what this machine would make."""
    return [target for target in applying(job, index) if accepts(target, job)]


def meant_by(emoji: str, job: Job, index: int | None) -> ActionTarget | None:
    """What a reaction means on such a message; the emoji's variation selector does not matter."""
    plain = without_selector(emoji)
    return next((p for p in applying(job, index) if without_selector(p.emoji) == plain), None)


def may_mean(emoji: str) -> bool:
    """Whether a reaction means something on a message that shows the right kind of job."""
    emojis = (*(action.emoji for action in ACTIONS.values() if action.on != "history"), *NUMBERS)
    return without_selector(emoji) in map(without_selector, emojis)


def without_selector(emoji: str) -> str:
    """An emoji without the mark that it is shown in colour, which not every client sends."""
    return emoji.replace("\ufe0f", "")
