"""An ordinary discord.py bot with one command for each thing that the page shows."""

from __future__ import annotations

import asyncio
import io

import discord
from discord import app_commands
from PIL import Image, ImageDraw

Inter = discord.Interaction[discord.Client]

COLORS = ("teal", "indianred", "goldenrod", "slateblue", "seagreen", "orchid")
MODELS = ("demo", "dream", "dusk", "flux")


def picture(name: str, color: str = "teal", size: tuple[int, int] = (320, 320)) -> discord.File:
    image = Image.new("RGB", size, color)
    draw = ImageDraw.Draw(image)
    width, height = size
    draw.ellipse((width * 0.2, height * 0.2, width * 0.8, height * 0.8), fill="white")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    buffer.seek(0)
    return discord.File(buffer, name)


class Actions(discord.ui.View):
    def __init__(self, bot: PageBot) -> None:
        super().__init__(timeout=None)
        self.bot = bot

    @discord.ui.button(
        label="Again", custom_id="again", emoji="🔁", style=discord.ButtonStyle.primary
    )
    async def again(self, inter: Inter, button: discord.ui.Button[Actions]) -> None:
        await self.bot.step()
        await inter.response.send_message(f"again for {inter.user.name}")

    @discord.ui.button(label="Tell me", custom_id="tell", style=discord.ButtonStyle.success)
    async def tell(self, inter: Inter, button: discord.ui.Button[Actions]) -> None:
        await inter.response.send_message("a secret", ephemeral=True)

    @discord.ui.button(label="Edit", custom_id="edit")
    async def edit(self, inter: Inter, button: discord.ui.Button[Actions]) -> None:
        await inter.response.send_modal(Change())

    @discord.ui.button(label="Off", custom_id="off", disabled=True)
    async def off(self, inter: Inter, button: discord.ui.Button[Actions]) -> None:
        raise AssertionError("a disabled button was pressed")

    @discord.ui.button(label="Ignore", custom_id="ignore", style=discord.ButtonStyle.danger)
    async def ignore(self, inter: Inter, button: discord.ui.Button[Actions]) -> None:
        """Never answers."""

    @discord.ui.select(
        custom_id="size",
        placeholder="Another size",
        options=[
            discord.SelectOption(label="Square", value="1:1", description="1024 × 1024"),
            discord.SelectOption(label="Wide", value="16:9", emoji="🖼️"),
        ],
    )
    async def size(self, inter: Inter, select: discord.ui.Select[Actions]) -> None:
        await inter.response.send_message(f"size {select.values[0]}")


class WithLink(Actions):
    def __init__(self, bot: PageBot) -> None:
        super().__init__(bot)
        self.add_item(discord.ui.Button(label="Help", url="https://example.org/help", row=2))


class Change(discord.ui.Modal, title="Edit the prompt"):
    prompt: discord.ui.TextInput[Change] = discord.ui.TextInput(
        label="Prompt",
        custom_id="prompt",
        style=discord.TextStyle.paragraph,
        default="a cat",
        min_length=3,
        max_length=100,
    )
    mood: discord.ui.Label[Change] = discord.ui.Label(
        text="Mood",
        description="Of the picture",
        component=discord.ui.Select(
            custom_id="mood",
            required=False,
            options=[discord.SelectOption(label=m) for m in ("calm", "wild")],
        ),
    )
    source: discord.ui.Label[Change] = discord.ui.Label(
        text="Source", component=discord.ui.FileUpload(custom_id="source", required=False)
    )

    async def on_submit(self, inter: Inter) -> None:
        mood, source = self.mood.component, self.source.component
        assert isinstance(mood, discord.ui.Select)
        assert isinstance(source, discord.ui.FileUpload)
        files = ",".join(a.filename for a in source.values)
        await inter.response.send_message(f"{self.prompt.value}|{''.join(mood.values)}|{files}")


class Layout(discord.ui.LayoutView):
    def __init__(self) -> None:
        super().__init__(timeout=None)
        box: discord.ui.Container[Layout] = discord.ui.Container(accent_color=0x5B66EA)
        box.add_item(
            discord.ui.Section(
                discord.ui.TextDisplay("## A sheet\nof **one** picture"),
                accessory=discord.ui.Button(label="Open", url="https://example.org/"),
            )
        )
        box.add_item(discord.ui.Separator())
        gallery: discord.ui.MediaGallery[Layout] = discord.ui.MediaGallery()
        gallery.add_item(media="attachment://sheet.png", description="a sheet")
        box.add_item(gallery)
        self.add_item(box)


class German(app_commands.Translator):
    """A few words, to see that the page shows them."""

    WORDS = {  # noqa: RUF012
        "imagine": "erstelle",
        "Makes pictures from words": "Macht Bilder aus Worten",
        "prompt": "text",
    }

    async def translate(
        self,
        string: app_commands.locale_str,
        locale: discord.Locale,
        context: app_commands.TranslationContextTypes,
    ) -> str | None:
        return self.WORDS.get(string.message) if locale is discord.Locale.german else None


class PageBot(discord.Client):
    """Answers at once, or after `hold` step by step, with each `go_on`."""

    def __init__(self) -> None:
        super().__init__(intents=discord.Intents.default(), guild_ready_timeout=0.05)
        self.tree = app_commands.CommandTree(self)
        self._steps: asyncio.Semaphore | None = None
        self.reactions: list[tuple[str, str]] = []
        self.asked: list[str] = []
        """What choices were asked for."""
        add_commands(self)

    def hold(self) -> None:
        self._steps = asyncio.Semaphore(0)

    def go_on(self) -> None:
        assert self._steps is not None
        self._steps.release()

    def let_go(self) -> None:
        """What a test left waiting ends."""
        if self._steps is not None:
            for _ in range(100):
                self._steps.release()
        self._steps = None

    async def step(self) -> None:
        if self._steps is not None:
            await self._steps.acquire()

    async def setup_hook(self) -> None:
        await self.tree.set_translator(German())
        await self.tree.sync()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Without the usual 5 s between two identifies."""

    async def on_raw_reaction_add(self, event: discord.RawReactionActionEvent) -> None:
        if event.user_id == self.application_id:
            return
        self.reactions.append(("add", event.emoji.name))
        if event.emoji.name == "👍":
            channel = await self.fetch_channel(event.channel_id)
            assert isinstance(channel, discord.TextChannel)
            await channel.get_partial_message(event.message_id).add_reaction("⭐")

    async def on_raw_reaction_remove(self, event: discord.RawReactionActionEvent) -> None:
        self.reactions.append(("remove", event.emoji.name))


def add_commands(bot: PageBot) -> None:
    tree = bot.tree

    @tree.command(description="Makes pictures from words")
    @app_commands.describe(
        prompt="What the picture shows",
        model="Which model makes it",
        steps="How many steps",
        count="How many pictures",
        source="A picture to start from",
        friend="Whom it is for",
        hires="Twice the size",
    )
    async def imagine(
        inter: Inter,
        prompt: str,
        model: str = "demo",
        steps: app_commands.Range[int, 1, 50] = 20,
        count: app_commands.Range[int, 1, 10] = 4,
        source: discord.Attachment | None = None,
        friend: discord.Member | None = None,
        hires: bool = False,
    ) -> None:
        await inter.response.defer(thinking=True)
        await bot.step()
        for percent in (25, 75):
            await inter.edit_original_response(
                content=f"`{percent} %` {prompt}",
                attachments=[picture("preview.png", COLORS[percent // 25])],
            )
            await bot.step()
        told = [f"**{prompt}** with {model} in {steps} steps"]
        if source is not None:
            told.append(f"from {source.filename} {source.width}×{source.height}")
        if friend is not None:
            told.append(f"for {friend.mention}")
        if hires:
            told.append("large")
        files = [picture(f"picture-{n + 1}.png", COLORS[n % 6]) for n in range(count)]
        await inter.edit_original_response(
            content=" ".join(told), attachments=files, view=Actions(bot)
        )

    @imagine.autocomplete("model")
    async def models(inter: Inter, current: str) -> list[app_commands.Choice[str]]:
        bot.asked.append(current)
        names = [name for name in MODELS if name.startswith(current)]
        return [app_commands.Choice(name=name.title(), value=name) for name in names]

    @tree.command(description="Says what it was given")
    @app_commands.choices(style=[app_commands.Choice(name=n, value=n) for n in ("loud", "quiet")])
    async def say(inter: Inter, text: str, style: app_commands.Choice[str] | None = None) -> None:
        await inter.response.send_message(text.upper() if style and style.value == "loud" else text)

    @tree.command(description="Only for you")
    async def whisper(inter: Inter) -> None:
        await inter.response.send_message("psst, hidden", ephemeral=True)

    @tree.command(description="Never answers")
    async def silence(inter: Inter) -> None:
        """It fails after 3 s."""

    @tree.command(description="Shows a picture behind a veil")
    async def veiled(inter: Inter) -> None:
        await inter.response.send_message(
            "||the plot||", file=picture("SPOILER_end.png", "maroon", (400, 250))
        )

    @tree.command(description="A card with fields")
    async def card(inter: Inter) -> None:
        embed = discord.Embed(
            title="Queue", description="**2** jobs", color=0xC8453B, url="https://example.org/"
        )
        embed.set_author(name="Darkroom")
        embed.add_field(name="Running", value="a cat", inline=True)
        embed.add_field(name="Waiting", value="a dog", inline=True)
        embed.set_image(url="attachment://queue.png")
        embed.set_footer(text="since noon")
        await inter.response.send_message(
            embed=embed, file=picture("queue.png", "teal", (400, 200)), view=WithLink(bot)
        )

    @tree.command(description="A layout of components")
    async def sheet(inter: Inter) -> None:
        await inter.response.send_message(
            view=Layout(), file=picture("sheet.png", "slateblue", (600, 300))
        )

    @tree.command(description="Age-restricted", nsfw=True)
    async def adult(inter: Inter) -> None:
        await inter.response.send_message("ok")

    library: app_commands.Group = app_commands.Group(name="library", description="What there is")

    @library.command(name="models", description="Lists the models")
    async def list_models(inter: Inter, page: int = 1) -> None:
        await inter.response.send_message(f"models, page {page}")

    @library.command(name="styles", description="Lists the styles")
    async def list_styles(inter: Inter) -> None:
        await inter.response.send_message("styles", file=discord.File(io.BytesIO(b"x"), "all.json"))

    tree.add_command(library)

    @tree.command(description="As many pictures as asked for")
    async def pictures(inter: Inter, count: app_commands.Range[int, 1, 10]) -> None:
        files = [picture(f"picture-{n + 1}.png", COLORS[n % 6]) for n in range(count)]
        await inter.response.send_message(files=files)

    @tree.command(description="Four previews that only you see")
    async def previews(inter: Inter) -> None:
        files = [picture(f"preview-{n}.png", COLORS[n]) for n in range(4)]
        embeds = [
            discord.Embed(url="https://example.org/job").set_image(url=f"attachment://{f.filename}")
            for f in files
        ]
        await inter.response.send_message(embeds=embeds, files=files, ephemeral=True)

    _add_menus(bot)


def _add_menus(bot: PageBot) -> None:
    @bot.tree.context_menu(name="Describe")
    async def describe(inter: Inter, message: discord.Message) -> None:
        await inter.response.send_message(f"It says: {message.content}")

    @bot.tree.context_menu(name="Gallery of")
    async def gallery(inter: Inter, user: discord.Member) -> None:
        await inter.response.send_message(f"Pictures of {user.name}")
