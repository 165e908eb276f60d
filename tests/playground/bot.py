"""An ordinary discord.py bot that uses every kind of interaction."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import discord
from discord import app_commands
from PIL import Image

from tests.patience import PATIENCE

Inter = discord.Interaction[discord.Client]


def picture(width: int = 64, height: int = 32, name: str = "cat.png") -> discord.File:
    return discord.File(io.BytesIO(png(width, height)), name)


def png(width: int = 64, height: int = 32) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(buffer, "PNG")
    return buffer.getvalue()


class Buttons(discord.ui.View):
    def __init__(self) -> None:
        super().__init__(timeout=None)

    @discord.ui.button(label="Count", custom_id="count")
    async def count(self, inter: Inter, button: discord.ui.Button[Buttons]) -> None:
        assert inter.message is not None
        number = int(inter.message.content.split()[-1]) + 1
        await inter.response.edit_message(content=f"count {number}")

    @discord.ui.button(label="Reply", custom_id="reply")
    async def reply(self, inter: Inter, button: discord.ui.Button[Buttons]) -> None:
        await inter.response.send_message("a reply", ephemeral=True)

    @discord.ui.button(label="Later", custom_id="later")
    async def later(self, inter: Inter, button: discord.ui.Button[Buttons]) -> None:
        await inter.response.defer()
        await inter.edit_original_response(content="later 1")

    @discord.ui.button(label="Off", custom_id="off", disabled=True)
    async def off(self, inter: Inter, button: discord.ui.Button[Buttons]) -> None:
        raise AssertionError("a disabled button was pressed")

    @discord.ui.select(
        custom_id="color",
        max_values=2,
        options=[discord.SelectOption(label=c) for c in ("red", "green", "blue")],
    )
    async def color(self, inter: Inter, select: discord.ui.Select[Buttons]) -> None:
        await inter.response.send_message("+".join(select.values))


class Feedback(discord.ui.Modal, title="Feedback"):
    text: discord.ui.TextInput[Feedback] = discord.ui.TextInput(
        label="Text", custom_id="text", min_length=2, max_length=50
    )
    mood: discord.ui.Label[Feedback] = discord.ui.Label(
        text="Mood",
        component=discord.ui.Select(
            custom_id="mood",
            required=False,
            options=[discord.SelectOption(label=m) for m in ("good", "bad")],
        ),
    )
    proof: discord.ui.Label[Feedback] = discord.ui.Label(
        text="Proof", component=discord.ui.FileUpload(custom_id="proof", required=False)
    )

    async def on_submit(self, inter: Inter) -> None:
        select, upload = self.mood.component, self.proof.component
        assert isinstance(select, discord.ui.Select)
        assert isinstance(upload, discord.ui.FileUpload)
        files = ",".join([f"{a.filename}:{len(await a.read())}" for a in upload.values])
        await inter.response.send_message(f"{self.text.value}|{''.join(select.values)}|{files}")


class SampleBot(discord.Client):
    """Keeps what it was told in `seen`: (event, data)."""

    def __init__(self, intents: discord.Intents | None = None, **options: Any) -> None:
        # its default is to wait 2 s for further guilds before it calls itself ready
        options.setdefault("guild_ready_timeout", 0.05)
        super().__init__(intents=intents or discord.Intents.default(), **options)
        self.tree = app_commands.CommandTree(self)
        self.seen: list[tuple[str, Any]] = []
        self.last: Inter | None = None
        add_commands(self)

    async def setup_hook(self) -> None:
        self.add_view(Buttons())
        await self.tree.sync()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Without the usual 5 s between two identifies."""

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        self.seen.append((event, args[0] if args else None))
        super().dispatch(event, *args, **kwargs)

    def seen_of(self, event: str) -> list[Any]:
        return [data for name, data in self.seen if name == event]

    async def wait_seen(self, event: str, count: int = 1) -> list[Any]:
        """Wait until the event was seen so often."""
        async with asyncio.timeout(PATIENCE):
            while len(self.seen_of(event)) < count:
                await asyncio.sleep(0.01)
        return self.seen_of(event)


def add_commands(bot: SampleBot) -> None:
    tree = bot.tree

    @tree.command(description="Draws")
    @app_commands.describe(prompt="What to draw", steps="How long", model="With what")
    async def draw(
        inter: Inter,
        prompt: str,
        steps: app_commands.Range[int, 1, 50] = 20,
        model: str = "demo",
        source: discord.Attachment | None = None,
        friend: discord.Member | None = None,
    ) -> None:
        bot.last = inter
        await inter.response.defer(thinking=True)
        read = "" if source is None else f" from {source.width}x{source.height}"
        name = "" if friend is None else f" for {friend.name}"
        await inter.edit_original_response(
            content=f"{prompt} {steps} {model}{read}{name}", attachments=[picture()]
        )

    @draw.autocomplete("model")
    async def models(inter: Inter, current: str) -> list[app_commands.Choice[str]]:
        names = ["demo", "dream", "flux"]
        return [app_commands.Choice(name=n, value=n) for n in names if n.startswith(current)]

    @tree.command(description="Buttons")
    async def buttons(inter: Inter) -> None:
        await inter.response.send_message("count 0", view=Buttons())

    @tree.command(description="Whispers")
    async def whisper(inter: Inter) -> None:
        bot.last = inter
        await inter.response.send_message("psst", ephemeral=True)
        await inter.followup.send("once more", ephemeral=True)

    @tree.command(description="A modal")
    async def feedback(inter: Inter) -> None:
        await inter.response.send_modal(Feedback())

    @tree.command(description="Never answers")
    async def silence(inter: Inter) -> None:
        bot.last = inter

    @tree.command(description="For adults", nsfw=True)
    async def adult(inter: Inter) -> None:
        await inter.response.send_message("ok")

    group = app_commands.Group(name="library", description="Things")

    @group.command(name="list", description="Lists")
    async def list_(inter: Inter, page: int = 1) -> None:
        await inter.response.send_message(f"page {page}")

    tree.add_command(group)
    _add_menus(bot)


def _add_menus(bot: SampleBot) -> None:
    @bot.tree.context_menu(name="Quote")
    async def quote(inter: Inter, message: discord.Message) -> None:
        await inter.response.send_message(f"> {message.content}")

    @bot.tree.context_menu(name="Who")
    async def who(inter: Inter, user: discord.Member) -> None:
        await inter.response.send_message(f"{user.name} {len(user.roles)}")
