"""Files that were uploaded in a modal."""

from collections.abc import Mapping
from typing import Any

import discord

from bot.interactions.responding import Interaction


def uploaded_files(
    interaction: Interaction, values: Mapping[str, Any], field: str
) -> list[discord.Attachment]:
    """Those of a field of a handed-in modal, whatever Discord sends of them."""
    chosen = values.get(field)
    data: Mapping[str, Any] = interaction.data or {}
    resolved = data.get("resolved")
    files = resolved.get("attachments") if isinstance(resolved, Mapping) else None
    if not isinstance(chosen, list) or not isinstance(files, Mapping):
        return []
    found = (files.get(str(one)) for one in chosen)
    state = interaction.client._connection
    return [discord.Attachment(data=about, state=state) for about in found if about is not None]
