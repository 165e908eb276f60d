"""The options of `/imagine`, made from the fields of GenerationRequest; their autocomplete."""

import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Final

import discord
from discord import app_commands
from discord.app_commands import Choice, locale_str

from bot.features.imagine.vocabulary import suggest
from bot.interactions.autocomplete import best
from bot.interactions.responding import Interaction
from generation import vocabulary
from generation.catalog import Catalog
from generation.completion import Rules, default_model
from generation.families import FAMILIES
from generation.models import ModelFile
from generation.request_options import Option, options
from generation.samplers import SAMPLERS
from generation.sizes import ASPECTS

ORDER: Final = ("prompt", "preset", "negative_prompt", "model", "aspect")
"""Options that people want first; the rest follow as the request declares them."""

Callback = Callable[..., Coroutine[Any, Any, None]]
Completer = Callable[[Interaction, str], Coroutine[Any, Any, list[Choice[str]]]]


def with_options(
    callback: Callback, catalog: Catalog, rules: Rules, presets: Completer
) -> Callback:
    """The callback with a signature that discord.py reads the options of `/imagine` from.

    It is called as `callback(interaction, **given)`.
    """

    async def imagine(interaction: Interaction, **given: Any) -> None:
        await callback(interaction, **given)

    found = {name: _parameter(option) for name, option in options().items()}
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
        preset=locale_str("one of this server's presets", key="option_imagine_preset_help"),
        **{
            name: locale_str(option.help, key=f"option_{name}_help")
            for name, option in options().items()
        },
    )
    chosen = app_commands.choices(aspect=[Choice(name=name, value=name) for name in ASPECTS])
    completed = app_commands.autocomplete(
        **{
            name: autocompleter(option, catalog, rules)
            for name, option in options().items()
            if option.choices_from
        },
        **_prompt_completer(catalog, rules),
        preset=presets,
    )
    imagine.__signature__ = inspect.Signature([first, *ordered])  # type: ignore[attr-defined]
    return completed(chosen(described(imagine)))


def autocompleter(option: Option, catalog: Catalog, rules: Rules) -> Completer:
    """Offers the names that fit what was typed, best first."""

    async def complete(interaction: Interaction, typed: str) -> list[Choice[str]]:
        names = _names(option, catalog, rules, interaction.namespace)
        return [Choice(name=name, value=name) for name in best(names, typed)]

    return complete


def _prompt_completer(catalog: Catalog, rules: Rules) -> dict[str, Completer]:
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

    usual = known(_named_model(catalog, default_model(catalog, rules)))
    return {"prompt": complete} if usual.words else {}


def _names(
    option: Option, catalog: Catalog, rules: Rules, chosen: app_commands.Namespace
) -> list[str]:
    match option.choices_from:
        case "samplers":
            return list(SAMPLERS)
        case "models":
            return [model.name for model in catalog.checkpoints if model.family in FAMILIES]
        case "loras":
            return _fitting(catalog.loras, catalog, rules, chosen)
        case "controlnets":
            return _fitting(catalog.controlnets, catalog, rules, chosen)
        case "vaes":
            model = _chosen_model(catalog, rules, chosen)
            family = FAMILIES[model.family].vaes if model and model.family in FAMILIES else ""
            return [vae.name for vae in catalog.vaes if family in ("", vae.family)]
    return []


def _fitting(
    parts: list[ModelFile], catalog: Catalog, rules: Rules, chosen: app_commands.Namespace
) -> list[str]:
    """Those made for the family of the model that is chosen so far."""
    model = _chosen_model(catalog, rules, chosen)
    return [part.name for part in parts if model is None or part.fits(model)]


def _chosen_model(
    catalog: Catalog, rules: Rules, chosen: app_commands.Namespace
) -> ModelFile | None:
    name = str(getattr(chosen, "model", None) or default_model(catalog, rules))
    return _named_model(catalog, name)


def _named_model(catalog: Catalog, name: str) -> ModelFile | None:
    return next((model for model in catalog.checkpoints if model.name == name), None)


def _parameter(option: Option) -> inspect.Parameter:
    annotation: Any = option.type
    if option.picture:
        annotation = discord.Attachment
    elif option.type is str and option.length_max is not None:
        # 6000 is Discord's own bound; a longer text is refused in words, not by the client
        annotation = app_commands.Range[str, 1, min(option.length_max, 6000)]
    elif option.low is not None and option.high is not None:
        annotation = app_commands.Range[
            option.type, option.type(option.low), option.type(option.high)
        ]
    default = inspect.Parameter.empty if option.name == "prompt" else None
    return inspect.Parameter(
        option.name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default
    )
