"""What is offered while somebody types the name of a model."""

from types import SimpleNamespace
from typing import Any

import discord
import pytest

from bot.access.caller import Caller, Person, Place
from bot.features.imagine.options import PART_KINDS, autocompleter
from bot.interactions.autocomplete import best
from generation.models import ModelKind
from generation.request_options import options
from generation.rules import Rules
from storage.settings import GuildSettings, PersonSettings
from tests.unit.generation.catalogs import a_catalog, a_model


async def offered(
    catalog: Any, option: str, typed: str = "", model: str | None = None
) -> list[str]:
    async def caller_of(_: Any) -> Caller:
        return Caller(Person(1, "ada"), Place(), GuildSettings(), PersonSettings())

    complete = autocompleter(options()[option], catalog, Rules())
    interaction: Any = SimpleNamespace(namespace=SimpleNamespace(model=model))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("bot.features.imagine.options.caller_of", caller_of)
        choices = await complete(interaction, typed)
    assert all(choice.name == choice.value for choice in choices)
    assert len(choices) <= 25
    assert all(0 < len(choice.name) <= 100 for choice in choices)
    return [choice.name for choice in choices]


async def test_long_names_alike_at_their_beginning_are_offered_and_found() -> None:
    names = [f"{'x' * 101}{number}" for number in range(3)]
    catalog = a_catalog(
        a_model("base", context_width=768), *(a_model(n, kind=ModelKind.LORA) for n in names)
    )
    found = await offered(catalog, "lora", "xxx", model="base")
    assert sorted(catalog.get(ModelKind.LORA, name).name for name in found) == names
    assert await offered(catalog, "lora") == found
    assert len(set(best(names, "x"))) == 3


async def test_parts_are_those_that_fit_the_model_named_in_any_way() -> None:
    long = "m" * 120
    catalog = a_catalog(
        a_model(long, family="sd2"),
        a_model("one"),
        a_model("large", family="hidream"),
        a_model("ink", kind=ModelKind.LORA),
        a_model("ink 2", kind=ModelKind.LORA, family="sd2"),
        a_model("edges", kind=ModelKind.CONTROLNET),
        a_model("fine", kind=ModelKind.VAE),
        a_model("flux", kind=ModelKind.VAE, family="flux"),
    )
    (short,) = (name for name in await offered(catalog, "model") if name != "one")
    assert await offered(catalog, "lora", model=short) == ["ink 2"]
    assert await offered(catalog, "lora", model="ONE.safetensors") == ["ink"]
    assert await offered(catalog, "lora", model="nobody") == ["ink", "ink 2"]
    assert await offered(catalog, "controlnet", model="one") == ["edges"]
    assert await offered(catalog, "controlnet", model=short) == []
    assert await offered(catalog, "vae", model="one") == ["fine"]
    assert "Euler" in await offered(catalog, "sampler", "euler")
    assert {option.choices_from for option in options().values() if option.slash} - {""} == {
        *PART_KINDS,
        "models",
        "samplers",
        "schedules",
        "vaes",
    }


async def test_nothing_is_offered_that_discord_would_not_take() -> None:
    catalog = a_catalog(*(a_model(name) for name in (" ", "  a ", "b" * 300, "c")))
    found = await offered(catalog, "model")
    for name in found:
        discord.app_commands.Choice(name=name, value=name)
        assert name.strip() == name
    assert {catalog.get(ModelKind.CHECKPOINT, name).name for name in found} == {
        model.name for model in catalog.checkpoints
    }
