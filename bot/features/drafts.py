"""*Edit and try again*: what was typed and refused, brought back in its modal."""

from typing import Any

import discord

from bot.access.caller import Caller
from bot.interactions.responding import Interaction, RespondingItem
from generation.refusal import Refused


class DraftButton(
    RespondingItem[discord.ui.Button[Any]],
    template=r"darkroom:draft:(?P<number>[0-9]{1,18})",
):
    """Under a refusal; only whoever typed it can open it."""

    async def respond(self, interaction: Interaction, caller: Caller) -> None:
        """Open the modal with everything that was typed."""
        client = interaction.client
        number = int(self.fields["number"])
        draft = await client.services.store.drafts.get(caller.person.id, number)
        reopen = client.reopeners.get(draft.name) if draft is not None else None
        if draft is None or reopen is None:
            raise Refused("draft_gone")
        modal = await reopen(interaction, caller, draft, number)
        await interaction.response.send_modal(modal.filled(draft.values))
