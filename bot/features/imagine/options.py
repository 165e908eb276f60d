"""The options of `/imagine`, made from the fields of GenerationRequest; their autocomplete."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import discord
from discord import app_commands
from discord.app_commands import Choice, locale_str

from bot.access import permissions
from bot.features.imagine.vocabulary import suggest
from bot.interactions.autocomplete import Completer, choices, quiet
from bot.interactions.callers import caller_of
from bot.interactions.contexts import Callback
from bot.interactions.responding import Interaction
from generation import control_uses, vocabulary
from generation.assembly import is_whole
from generation.catalog import Catalog
from generation.families import FAMILIES
from generation.models import ModelFile, ModelKind
from generation.name_search import NameSearch, fold
from generation.request_fields import SIDE_STEP
from generation.request_options import Option, options, stepped
from generation.rules import Limits, Rules, default_model
from generation.samplers import SAMPLERS, SCHEDULES
from generation.sizes import ASPECTS

ORDER: Final = ("prompt", "preset", "negative_prompt", "model", "aspect")
"""Options that people want first; the rest follow as the request declares them."""
PART_KINDS: Final = {"loras": ModelKind.LORA, "controlnets": ModelKind.CONTROLNET}
"""Kinds of what is offered as far as it fits the model."""
TOLD: Final[Mapping[ModelKind, Callable[[ModelFile], Iterable[str]]]] = {
    ModelKind.LORA: lambda lora: (lora.name,),
    ModelKind.CONTROLNET: control_uses.names,
}
"""What is offered of each."""


def with_options(
    callback: Callback, catalog: Catalog, rules: Rules, presets: Completer[str]
) -> Callback:
    """The callback with a signature that discord.py reads the options of `/imagine` from.

    It is called as `callback(interaction, **given)`.
    """

    async def imagine(interaction: Interaction, **given: Any) -> None:
        # Discord can be told the bounds of a number, but not its steps
        await callback(interaction, **stepped(given))

    slashed = {name: option for name, option in options().items() if option.slash}
    found = {
        name: _parameter(option, _most(option, rules.limits)) for name, option in slashed.items()
    }
    found["aspect"] = inspect.Parameter(
        "aspect", inspect.Parameter.KEYWORD_ONLY, annotation=str, default=None
    )
    found["private"] = inspect.Parameter(
        "private", inspect.Parameter.KEYWORD_ONLY, annotation=bool, default=None
    )
    found["preset"] = inspect.Parameter(
        "preset", inspect.Parameter.KEYWORD_ONLY, annotation=str, default=None
    )
    ordered = [found.pop(name) for name in ORDER] + list(found.values())
    first = inspect.Parameter("interaction", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    described = app_commands.describe(
        aspect=locale_str(
            "the picture's shape, instead of width and height", key="option_aspect_help"
        ),
        private=locale_str("answer so that only you see it", key="option_private_help"),
        preset=locale_str("a preset, this server's or your own", key="option_imagine_preset_help"),
        **{
            name: locale_str(option.help, key=f"option_{name}_help")
            for name, option in slashed.items()
        },
    )
    listed = {name: option.choices for name, option in slashed.items() if option.choices}
    listed["aspect"] = tuple(ASPECTS)
    chosen = app_commands.choices(
        **{
            name: [Choice(name=value, value=value) for value in values]
            for name, values in listed.items()
        }
    )
    completed = app_commands.autocomplete(
        **{
            name: autocompleter(option, catalog, rules)
            for name, option in slashed.items()
            if option.choices_from
        },
        **_prompt_completer(catalog, rules),
        preset=quiet(presets),
    )
    imagine.__signature__ = inspect.Signature([first, *ordered])  # type: ignore[attr-defined]
    return completed(chosen(described(imagine)))


def autocompleter(option: Option, catalog: Catalog, rules: Rules) -> Completer[str]:
    """Offers the names that fit what was typed, best first."""

    async def complete(interaction: Interaction, typed: str) -> list[Choice[str]]:
        hidden = permissions.kept_from(await caller_of(interaction))
        return choices(_names(option, catalog, rules, interaction.namespace, hidden), typed)

    return quiet(complete)


def _prompt_completer(catalog: Catalog, rules: Rules) -> dict[str, Completer[str]]:
    """Offers the words of a model that knows only some.

    None where the model that draws by default knows every word: over each prompt, Discord would
    say "No options match your search".
    """

    def known(model: ModelFile | None) -> vocabulary.Vocabulary:
        return vocabulary.of_model(model) if model is not None else vocabulary.Vocabulary()

    async def complete(interaction: Interaction, typed: str) -> list[Choice[str]]:
        model = _chosen_model(catalog, rules, interaction.namespace)
        texts = suggest(known(model), typed)
        return [Choice(name=text, value=text) for text in texts]

    usual = known(catalog.find(ModelKind.CHECKPOINT, default_model(catalog, rules)))
    return {"prompt": complete} if usual.words else {}


def _names(
    option: Option,
    catalog: Catalog,
    rules: Rules,
    chosen: app_commands.Namespace,
    hidden: frozenset[str],
) -> NameSearch:
    """The names of an option but for those `hidden`, which are folded; of parts those made for the
    model that is chosen so far.
    """
    if option.choices_from == "samplers":
        return NameSearch(SAMPLERS)
    if option.choices_from == "schedules":
        return NameSearch(SCHEDULES)
    if option.choices_from == "models":
        return catalog.names(
            ModelKind.CHECKPOINT,
            ("runnable", hidden),
            lambda m: m.family in FAMILIES and is_whole(m) and fold(m.name) not in hidden,
        )
    model = _chosen_model(catalog, rules, chosen)
    if option.choices_from == "vaes":
        family = FAMILIES.get(model.family) if model else None
        return catalog.names(
            ModelKind.VAE,
            family.vaes if family else "",
            lambda vae: family is None or family.takes_vae_of(vae.family),
        )
    kind = PART_KINDS[option.choices_from]
    told = TOLD[kind]
    if model is None:
        return catalog.names(kind, ("told", hidden), lambda p: fold(p.name) not in hidden, told)
    key = (model.family, model.context_width, hidden)
    return catalog.names(kind, key, lambda p: p.fits(model) and fold(p.name) not in hidden, told)


def _chosen_model(
    catalog: Catalog, rules: Rules, chosen: app_commands.Namespace
) -> ModelFile | None:
    name = str(getattr(chosen, "model", None) or default_model(catalog, rules))
    return catalog.find(ModelKind.CHECKPOINT, name)


def _most(option: Option, limits: Limits) -> float | None:
    """The most that this machine takes: its limit, where that is below what is declared."""
    sides = dict.fromkeys(("width", "height"), limits.side // SIDE_STEP * SIDE_STEP)
    limit = {"steps": limits.steps, "count": limits.count, **sides}.get(option.name)
    if limit is None or option.high is None:
        return option.high
    return min(limit, option.high)


def _parameter(option: Option, high: float | None) -> inspect.Parameter:
    annotation: Any = option.type
    if option.picture:
        annotation = discord.Attachment
    elif option.type is str and option.length_max is not None:
        # 6000 is Discord's own bound; a longer text is refused in words, not by the client
        annotation = app_commands.Range[str, 1, min(option.length_max, 6000)]
    elif option.low is not None and high is not None:
        annotation = app_commands.Range[option.type, option.type(option.low), option.type(high)]
    default = inspect.Parameter.empty if option.name == "prompt" else None
    return inspect.Parameter(
        option.name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default
    )
