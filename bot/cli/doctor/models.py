"""The model folders, what in them can't be used, and what the settings say of models."""

import importlib.util
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final

from bot.cli.doctor.describing import check_readers
from bot.cli.doctor.finding import Finding, quoted
from bot.config import Config
from bot.fetching import OFFLINE
from bot.locales import Texts
from generation.assembly import is_whole, missing, told
from generation.catalog import Catalog
from generation.checks import known_sampler, known_schedule
from generation.completion import complete
from generation.enlarging import upscaler_of
from generation.families import FAMILIES, RECOGNISED
from generation.hub import HubModel
from generation.model_settings import ModelSettings
from generation.models import ModelFile, ModelKind, Unusable
from generation.refusal import Refused
from generation.regular_files import printable

ALIKE_MAX: Final = 20
"""Files with the same fault that are named; behind these their number says as much."""


async def check_models(config: Config) -> AsyncIterator[Finding]:
    """Every model folder, every file in them that can't be used, and what the settings name."""
    catalog = Catalog(config.model_folders, settings=config.models.settings)
    await catalog.scan()
    troubled = {problem.path for problem in catalog.problems}
    for folder in config.model_folders:
        if folder in troubled:
            continue  # one of the problems below
        files = [model for model in catalog.all if model.path.is_relative_to(folder)]
        kinds = Counter(str(model.kind) for model in files)
        counted = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
        yield Finding("models", f"{printable(str(folder))}: {counted or 'nothing'}")
    for model in catalog.checkpoints:
        if model.family in FAMILIES:
            title = f"{model.name} ({FAMILIES[model.family].title})"
            yield Finding("model", title, _lacking(model), fatal=False)
        else:
            title = RECOGNISED.get(model.family, model.family)
            mend = "This version can't run its family; nothing else is wrong with it."
            yield Finding("model", f"{model.name} ({title})", mend, fatal=False)
    for finding in _problems(catalog.problems):
        yield finding
    for finding in _named_models(config, catalog):
        yield finding
    for finding in _refused_alone(config, catalog):
        yield finding
    for finding in _enlarging(config, catalog):
        yield finding
    async for finding in check_readers(config, catalog):
        yield finding
    if not any(model.family in FAMILIES and is_whole(model) for model in catalog.checkpoints):
        mend = f"Put a .safetensors checkpoint into {config.own_models / 'checkpoints'}."
        yield Finding("models", "no checkpoint that can be used", mend)


def _lacking(model: ModelFile) -> str:
    """Which parts a model has none of; "" where it has all."""
    texts, lacking = Texts("en-US"), missing(model)
    needed = [part for part in lacking if not part.optional]
    if needed:
        return texts("part_missing", model=model.name, **told(needed))
    return texts("part_optional", **told(lacking)) if lacking else ""


def _problems(problems: Sequence[Unusable]) -> Iterator[Finding]:
    """What can't be used; the bot starts with the others. Of many of one kind the first."""
    texts = Texts("en-US")
    counts: Counter[str] = Counter()
    for problem in problems:
        if problem.code == "model_convertible":
            continue  # nothing is wrong with it, and `models` names it
        counts[problem.code] += 1
        if counts[problem.code] <= ALIKE_MAX:
            mend = texts(problem.code, **problem.params)
            yield Finding("model", problem.where, mend, fatal=False)
    for code, count in counts.items():
        if count > ALIKE_MAX:
            mend = "The same holds for them as for those of their kind above."
            yield Finding("model", f"{count - ALIKE_MAX} more ({code})", mend, fatal=False)


def _named_models(config: Config, catalog: Catalog) -> Iterator[Finding]:
    """The models that config.toml names, and the parts that settings of models name."""
    default = config.models.default
    if default:
        try:
            model = catalog.get(ModelKind.CHECKPOINT, default)
        except Refused as refused:
            mend = (
                "No checkpoint has that name, so whoever names none for /imagine is refused."
                f" {_nearest(refused)}"
                if refused.code != "model_awaited"
                else "It is not there yet, so whoever names none for /imagine is refused."
            )
            yield Finding("[models]", f"default = {quoted(default)}", mend)
        else:
            if model.family not in FAMILIES:
                mend = "This version can't run its family. Name another."
                yield Finding("[models]", f"default = {quoted(default)}", mend)
            elif not is_whole(model):
                yield Finding("[models]", f"default = {quoted(default)}", _lacking(model))
    for name, settings in config.models.settings.items():
        try:
            catalog.get(ModelKind.CHECKPOINT, name)
        except Refused as refused:
            if name in catalog.awaited:
                yield _awaited(config, name, catalog.awaited[name])
                continue
            mend = f"It names no checkpoint, so it has no effect. {_nearest(refused)}"
            yield Finding("[models]", f"[models.{quoted(name)}]", mend, fatal=False)
        yield from _parts(f"[models.{quoted(name)}]", settings, catalog)
    for model in catalog.checkpoints:
        if model.defaults is not None:
            yield from _parts(f"settings beside {model.name}", model.defaults, catalog)


def _awaited(config: Config, name: str, model: HubModel) -> Finding:
    """A model of the hub that was not fetched yet."""
    mend = f"It is not there yet. The bot fetches it while it runs; at once: darkroom fetch {model}"
    if config.huggingface.offline:
        mend = f"It is not there yet. {OFFLINE}"
    return Finding("[models]", f"[models.{quoted(name)}] hub = {quoted(str(model))}", mend, False)


def _parts(where: str, settings: ModelSettings, catalog: Catalog) -> Iterator[Finding]:
    checks = (
        (settings.sampler, known_sampler),
        (settings.schedule, known_schedule),
        (settings.vae, lambda name: catalog.get(ModelKind.VAE, name)),
    )
    encoders = settings.text_encoders or ()
    more = ((name, lambda name: catalog.get(ModelKind.TEXT_ENCODER, name)) for name in encoders)
    for name, look_up in (*checks, *more):
        try:
            if name is not None:
                look_up(name)
        except Refused as refused:
            yield Finding("[models]", where, Texts("en-US")(refused.code, **refused.params))


def _refused_alone(config: Config, catalog: Catalog) -> Iterator[Finding]:
    """Models whose own sizes and settings are more than the limits allow."""
    for model in catalog.checkpoints:
        if model.family in FAMILIES:
            try:
                complete({"prompt": "a cat", "model": model.name}, catalog, config.rules)
            except Refused as refused:
                if refused.code not in ("out_of_bounds", "too_many_pixels"):
                    continue  # named above
                why = Texts("en-US")(refused.code, **refused.params)
                mend = f"Change [limits], or its size and steps in [models.{quoted(model.name)}]."
                yield Finding("[limits]", f"{model.name} with a prompt alone: {why}", mend)


def _enlarging(config: Config, catalog: Catalog) -> Iterator[Finding]:
    """The upscaler that config.toml names, and what all but the plain ones need."""
    wanted = config.enlarging.upscaler
    try:
        upscaler_of(None, catalog, config.enlarging)
    except Refused as refused:
        mend = Texts("en-US")(refused.code, **refused.params)
        yield Finding("[enlarging]", f"upscaler = {quoted(wanted)}", mend)
    if catalog.upscalers and importlib.util.find_spec("spandrel") is None:
        found = f"{len(catalog.upscalers)} that can't be used: spandrel is not installed"
        mend = f"{sys.executable} -m pip install --no-deps spandrel"
        yield Finding("upscalers", found, mend, fatal=False)


def _nearest(refused: Refused) -> str:
    return f"Nearest: {refused.params['nearest']}."
