"""`/mydata`: everything that is kept about oneself, as files or gone."""

import contextlib
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import discord
from discord import app_commands
from discord.app_commands import locale_str

from bot.answering import NO_MENTIONS, answering, say, think
from bot.attachments import UPLOAD_LIMIT
from bot.commands.where import EVERYWHERE, INSTALLS

if TYPE_CHECKING:
    import re

    from bot.client import DarkroomClient

PART_MAX: Final = UPLOAD_LIMIT - 64 * 1024
"""Bytes of a zip, so that it can be posted with what is around it."""

FILES_MAX: Final = 10
"""Files of one message."""
FOLLOWUPS_MAX: Final = 5
"""As many as Discord takes where the bot is no member."""
UPLOADED_WITHIN: Final = timedelta(minutes=4)
"""How long the files of a message may take on a slow line; the interaction must live on."""

Interaction = discord.Interaction[Any]


async def _hand_over(
    interaction: Interaction, text: str, files: Sequence[Path], number: int
) -> None:
    """Privately: through the interaction while it takes more, then as a direct message."""
    if number <= FOLLOWUPS_MAX and datetime.now(UTC) < interaction.expires_at - UPLOADED_WITHIN:
        await interaction.followup.send(
            text,
            files=[discord.File(file) for file in files],
            ephemeral=True,
            allowed_mentions=NO_MENTIONS,
        )
    else:
        await interaction.user.send(
            text, files=[discord.File(file) for file in files], allowed_mentions=NO_MENTIONS
        )
    for file in files:
        # what was sent is not kept a second time
        file.unlink()


class MyDataCommands(app_commands.Group):
    """`/mydata export|delete`."""

    def __init__(self, client: "DarkroomClient") -> None:
        super().__init__(
            name=locale_str("mydata", key="command_mydata"),
            description=locale_str("What is kept about you", key="command_mydata_help"),
            allowed_contexts=EVERYWHERE,
            allowed_installs=INSTALLS,
        )
        self.client = client

    @app_commands.command(
        name=locale_str("export", key="command_mydata_export"),
        description=locale_str(
            "All your requests, settings and pictures as files", key="command_mydata_export_help"
        ),
    )
    async def export(self, interaction: Interaction) -> None:
        """Zip files, one after the other, each small enough for Discord."""
        async with answering(interaction) as visit:
            await think(interaction, private=True)
            with tempfile.TemporaryDirectory(prefix="darkroom-") as folder:
                export = self.client.desk.store.personal.export(
                    visit.person.id, Path(folder), max_bytes=PART_MAX
                )
                async with contextlib.aclosing(export) as parts:
                    files: list[Path] = []
                    number = 1
                    async for part in parts:
                        if len(files) == FILES_MAX:
                            text = visit.texts("mydata_part", number=number)
                            await _hand_over(interaction, text, files, number)
                            files, number = [], number + 1
                        files.append(part)
                    text = visit.texts("mydata_last_part", number=number)
                    await _hand_over(interaction, text, files, number)

    @app_commands.command(
        name=locale_str("delete", key="command_mydata_delete"),
        description=locale_str(
            "Delete all your requests, settings and pictures", key="command_mydata_delete_help"
        ),
    )
    async def delete(self, interaction: Interaction) -> None:
        """Ask once more; nothing brings it back."""
        async with answering(interaction) as visit:
            view = discord.ui.View(timeout=None)
            view.add_item(DeleteButton(visit.texts("button_delete_all")))
            await say(interaction, visit.texts("mydata_sure"), view=view)


class DeleteButton(discord.ui.DynamicItem[discord.ui.Button[Any]], template=r"darkroom:forget_me"):
    """Deletes everything about whoever presses it."""

    def __init__(self, label: str) -> None:
        super().__init__(
            discord.ui.Button(
                style=discord.ButtonStyle.danger,
                label=label,
                custom_id="darkroom:forget_me",
            )
        )

    @classmethod
    async def from_custom_id(
        cls, _interaction: Interaction, item: Any, _match: "re.Match[str]", /
    ) -> Self:
        """The button of a message from whenever."""
        return cls(item.label)

    async def callback(self, interaction: Interaction) -> None:
        """Delete, on Discord too as far as the bot can reach it."""
        client: DarkroomClient = interaction.client
        async with answering(interaction) as visit:
            await think(interaction, private=True)
            deleted = await client.desk.forget(visit.person.id)
            # there may be thousands, and Discord takes a second for each
            client.delivery.take_back(deleted.messages)
            sentence = visit.texts("mydata_deleted", count=deleted.jobs, pictures=deleted.pictures)
            await interaction.followup.send(sentence, ephemeral=True)
