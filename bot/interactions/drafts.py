"""What somebody typed, kept where it comes to nothing: the refusal has a button to bring it back.

Whoever handles what was typed says so at first, with `typing`; a refusal then asks `offer`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import discord
import msgspec
import structlog

from bot.locales import Texts
from bot.requests.actions import ACTIONS, ActionTarget
from bot.services import Client
from bot.ui.action_buttons import ActionButton
from bot.ui.formatting import text_file
from bot.ui.modal import VALUE_MAX
from bot.ui.persistent_items import StatelessView
from generation.job import Job, JobState
from storage.drafts import Draft

log = structlog.get_logger(__name__)

TYPED: Final = "typed"
"""Where an interaction carries what was typed with it."""

Typed = Draft | Job | Callable[[], Awaitable[tuple[Draft, Sequence[str]]]]
"""A draft, or what makes one, and names the options whose pictures it could not keep; of a button,
the job that it is on.
"""


def typing(interaction: discord.Interaction[Client], typed: Typed) -> None:
    """Have this kept if it comes to nothing, in place of what was named before."""
    interaction.extras[TYPED] = typed


def seen_anew(interaction: discord.Interaction[Client], where: Sequence[str]) -> None:
    """Have a kept modal go on from what is there now: whoever is told that it was changed may hand
    theirs in all the same. `where` is what follows the name in its custom_id.
    """
    typed = interaction.extras.get(TYPED)
    if isinstance(typed, Draft):
        typing(interaction, msgspec.structs.replace(typed, where=tuple(where)))


def with_uploads(interaction: discord.Interaction[Client], uploads: Mapping[str, str]) -> None:
    """Have the pictures kept that a modal is about, by option."""
    typed = interaction.extras.get(TYPED)
    if isinstance(typed, Draft):
        typing(interaction, msgspec.structs.replace(typed, uploads=dict(uploads)))


async def offer(
    interaction: discord.Interaction[Client], texts: Texts
) -> tuple[str, dict[str, Any]]:
    """What a refusal says beside its sentence, and arguments of its message: the button.

    Nothing where nothing was typed.
    """
    typed: Typed | None = interaction.extras.get(TYPED)
    if typed is None:
        return "", {}
    try:
        if isinstance(typed, Job):
            return "", _edit_button(typed, texts)
        draft, lost = (typed, ()) if isinstance(typed, Draft) else await typed()
        number = await interaction.client.services.store.drafts.keep(interaction.user.id, draft)
    except Exception:
        log.exception("what was typed can't be kept")
        return "", {}
    view = StatelessView()
    style = discord.ButtonStyle.primary
    view.add_item(
        discord.ui.Button(
            style=style, label=texts("button_retry"), custom_id=f"darkroom:draft:{number}"
        )
    )
    more = "".join("\n" + texts("draft_without", option=option) for option in lost)
    long = {n: v for n, v in draft.values.items() if isinstance(v, str) and len(v) > VALUE_MAX}
    if not long:
        return more, {"view": view}
    files = [text_file(text, f"{name}.txt") for name, text in long.items()]
    more += "\n" + texts("draft_too_long", high=VALUE_MAX)
    return more, {"view": view, "files": files}


def _edit_button(job: Job, texts: Texts) -> dict[str, Any]:
    if job.state is not JobState.FINISHED:
        return {}
    view = StatelessView()
    target = ActionTarget(ACTIONS["edit"])
    view.add_item(ActionButton.of(target, job.id, texts("button_retry")))
    return {"view": view}
