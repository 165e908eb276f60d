"""Buttons and menus that work for ever: all that they know stands in their custom_id.

discord.py keeps every view that is sent, an ephemeral one for a quarter of an hour, to find its
items again. Ours are found by their custom_ids: so these views say that they are finished, and are
not kept.
"""

import re
from typing import Any, Generic, Self, TypeVar

import discord

Item = TypeVar("Item", bound="discord.ui.Item[Any]")


class PersistentItem(discord.ui.DynamicItem[Item], Generic[Item], template=r"(?!)"):
    """The frame of such an item. A class of it names the `template` of its custom_ids; what the
    template's groups match are its `fields`.
    """

    def __init__(self, item: Item) -> None:
        super().__init__(item)
        found = self.template.fullmatch(self.custom_id)
        assert found is not None  # discord.py has checked that it matches
        self.fields: dict[str, str] = found.groupdict(default="")

    @classmethod
    async def from_custom_id(
        cls, _interaction: discord.Interaction[Any], item: Any, _match: re.Match[str], /
    ) -> Self:
        """The item of a message from whenever."""
        return cls(item)


class StatelessView(discord.ui.View):
    """A view of persistent items."""

    def __init__(self) -> None:
        super().__init__(timeout=None)
        self.stop()


class StatelessLayout(discord.ui.LayoutView):
    """The same with texts and pictures between them."""

    def __init__(self) -> None:
        super().__init__(timeout=None)
        self.stop()
