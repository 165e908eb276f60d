"""What the bot does and how it is asked, in words: pure functions of a language."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import discord
from discord import app_commands

from bot.interactions.contexts import AnyCommand
from bot.locales import Texts
from bot.requests.actions import ACTIONS, NUMBERS
from bot.ui.formatting import COLOUR, cut_lines, quoted
from generation import vocabulary
from generation.catalog import Catalog
from generation.models import ModelKind
from generation.rules import Rules, default_model

EXAMPLES: Final = (
    "a lighthouse at dusk, oil painting",
    "portrait of a fox in a library, soft light",
    "a bowl of ramen, studio photo",
)
"""For models that know every word; prompts are English in any language."""
SHOWN: Final = 3
EXAMPLE_MAX: Final = 200

CommandIds = Mapping[str, int]
"""Discord's ids of commands, by name; empty while they are not known."""


def examples(catalog: Catalog, rules: Rules) -> Sequence[str]:
    """Prompts to begin with, in words that the model that draws by default knows."""
    model = catalog.find(ModelKind.CHECKPOINT, default_model(catalog, rules))
    own = vocabulary.of_model(model).examples if model is not None else ()
    return (own or EXAMPLES)[:SHOWN]


def mention(name: str, ids: CommandIds) -> str:
    """A command that can be clicked, where its id is known."""
    found = ids.get(name.split()[0])
    return f"`/{name}`" if found is None else f"</{name}:{found}>"


def tries(prompts: Sequence[str], ids: CommandIds) -> str:
    """A line for each example."""
    command = mention("imagine", ids)
    return "\n".join(f"{command} {quoted(prompt, EXAMPLE_MAX)}" for prompt in prompts)


def welcome(prompts: Sequence[str], ids: CommandIds, texts: Texts) -> str:
    """What the bot says when it is new in a server."""
    return texts("welcome", examples=tries(prompts, ids), help=mention("help", ids))


def hint(prompts: Sequence[str], ids: CommandIds, texts: Texts) -> str:
    """What the bot answers to somebody who writes to it."""
    examples = tries(prompts[:1], ids)
    return texts("direct_message", examples=examples, help=mention("help", ids))


def page(
    commands: Sequence[AnyCommand],
    prompts: Sequence[str],
    ids: CommandIds,
    texts: Texts,
    link: str = "",
) -> discord.Embed:
    """`/help`: what it does, examples, all commands, all actions."""
    listed = [
        f"{' '.join(mention(name, ids) for name in names)} · {_help(command, texts)}"
        for command, names in _grouped(commands)
    ]
    lines = [
        f"**{texts('help_try')}**",
        tries(prompts, ids),
        f"**{texts('help_commands')}**",
        *listed,
    ]
    actions = [
        f"{f'{NUMBERS[0]}–{NUMBERS[-1]}' if action.on == 'pick' else action.emoji}"
        f" {texts(action.label or 'help_pick')}"
        for action in ACTIONS.values()
        if action.on != "history"
    ]
    embed = discord.Embed(
        title=texts("help_title"), description=cut_lines("\n".join(lines)), colour=COLOUR
    )
    under = f"{' · '.join(actions)}\n{texts('help_actions')}"
    embed.add_field(name=texts("help_pictures"), value=under, inline=False)
    if link:
        embed.add_field(name=texts("help_more"), value=link, inline=False)
    return embed


def _grouped(commands: Sequence[AnyCommand]) -> Iterator[tuple[AnyCommand, list[str]]]:
    """Each command, or group of commands, with what of it can be used."""
    for command in commands:
        if isinstance(command, app_commands.Group):
            yield command, [each.qualified_name for each in command.commands]
        elif isinstance(command, app_commands.Command):
            yield command, [command.qualified_name]


def _help(command: AnyCommand, texts: Texts) -> str:
    key = f"command_{command.name}_help"
    return texts(key) if texts.has(key) else ""
