"""`/mydata`: everything that is kept about oneself, as files or gone."""

import contextlib
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Self

import discord
from discord import app_commands
from discord.app_commands import locale_str

from bot.access.caller import Caller
from bot.interactions.contexts import EVERYWHERE, INSTALLS
from bot.interactions.responding import (
    Interaction,
    RespondingItem,
    add_answer,
    answer,
    defer,
    reply_privately,
    responding,
)
from bot.pictures.attachments import UPLOAD_LIMIT
from bot.services import Services
from bot.ui.persistent_items import StatelessView
from generation.refusal import Refused

PART_MAX: Final = UPLOAD_LIMIT - 64 * 1024
"""Bytes of a zip, so that it can be posted with what is around it."""

FILES_MAX: Final = 2
"""Files of one message: with the one that is made meanwhile, as many lie on the disk."""
FOLLOWUPS_MAX: Final = 5
"""As many as Discord takes where the bot is no member; the last is kept for a sentence."""
UPLOADED_WITHIN: Final = timedelta(minutes=4)
"""How long the files of a message may take on a slow line; the interaction must live on."""


async def _hand_over(
    interaction: Interaction, text: str, files: Sequence[Path], number: int
) -> None:
    """Privately: through the interaction while it takes more, then as a direct message.

    Raises Refused for whoever takes none.
    """
    sent = [discord.File(file) for file in files]
    try:
        if _takes_more(interaction, number):
            tell = answer if number == 1 else add_answer
            await tell(interaction, content=text, files=sent)
        else:
            await _directly(interaction.user, text, sent, number)
    finally:
        for file in sent:  # an open one can't be deleted on Windows
            file.close()
    for path in files:
        # what was sent is not kept a second time
        path.unlink()


async def _directly(
    user: discord.User | discord.Member, text: str, files: Sequence[discord.File], number: int
) -> None:
    try:
        await user.send(text, files=files)
    except discord.Forbidden:
        raise Refused("mydata_closed", count=number - 1) from None


def _takes_more(interaction: Interaction, number: int) -> bool:
    """Whether the interaction takes a message of that number, and one more."""
    now = interaction.client.services.clock.now()
    if now >= interaction.expires_at - UPLOADED_WITHIN:
        return False
    return interaction.is_guild_integration() or number < FOLLOWUPS_MAX


class MyDataCommands(app_commands.Group):
    """`/mydata export|delete`."""

    def __init__(self, services: Services) -> None:
        super().__init__(
            name=locale_str("mydata", key="command_mydata"),
            description=locale_str("What is kept about you", key="command_mydata_help"),
            allowed_contexts=EVERYWHERE,
            allowed_installs=INSTALLS,
        )
        self.services = services

    @app_commands.command(
        name=locale_str("export", key="command_mydata_export"),
        description=locale_str(
            "All your requests, settings and pictures as files", key="command_mydata_export_help"
        ),
    )
    async def export(self, interaction: Interaction) -> None:
        """Zip files, one after the other, each small enough for Discord."""
        async with responding(interaction) as caller:
            await defer(interaction, private=True)
            with tempfile.TemporaryDirectory(prefix="darkroom-") as folder:
                export = self.services.store.personal.export(
                    caller.person.id, Path(folder), max_bytes=PART_MAX
                )
                async with contextlib.aclosing(export) as parts:
                    files: list[Path] = []
                    number = 1
                    async for part in parts:
                        if len(files) == FILES_MAX:
                            text = caller.texts("mydata_part", number=number)
                            await _hand_over(interaction, text, files, number)
                            files, number = [], number + 1
                        files.append(part)
                    text = caller.texts("mydata_last_part", number=number)
                    await _hand_over(interaction, text, files, number)

    @app_commands.command(
        name=locale_str("delete", key="command_mydata_delete"),
        description=locale_str(
            "Delete all your requests, settings and pictures", key="command_mydata_delete_help"
        ),
    )
    async def delete(self, interaction: Interaction) -> None:
        """Ask once more; nothing brings it back."""
        async with responding(interaction) as caller:
            view = StatelessView()
            view.add_item(DeleteButton.of(caller.texts("button_delete_all")))
            await reply_privately(interaction, caller.texts("mydata_sure"), view=view)


class DeleteButton(
    RespondingItem[discord.ui.Button[Any]],
    template=r"darkroom:forget_me",
):
    """Deletes everything about whoever presses it."""

    @classmethod
    def of(cls, label: str) -> Self:
        """A new button."""
        style = discord.ButtonStyle.danger
        return cls(discord.ui.Button(style=style, label=label, custom_id="darkroom:forget_me"))

    async def respond(self, interaction: Interaction, caller: Caller) -> None:
        """Delete, on Discord too as far as the bot can reach it."""
        services = interaction.client.services
        await defer(interaction, private=True)
        deleted = await services.requests.made.forget(caller.person.id)
        # there may be thousands, and Discord takes a second for each
        services.delivery.chores.take_back(deleted.messages)
        sentence = caller.texts("mydata_deleted", count=deleted.jobs, pictures=deleted.pictures)
        await answer(interaction, content=sentence)
