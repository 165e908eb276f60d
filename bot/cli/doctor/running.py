"""How each model will run on this machine: where its parts lie, and how fast it was."""

from collections.abc import AsyncIterator

from bot.cli.doctor.finding import Finding
from bot.config import Config, WorkerSettings
from bot.storage_folder import database_url, look_at_store
from generation.assembly import is_whole
from generation.catalog import Catalog
from generation.completion import complete
from generation.estimate import Estimates
from generation.families import FAMILIES
from generation.memory_helpers import held_by_check, helpers_there
from generation.memory_outlook import Outlook
from generation.memory_plan import NoRoom
from generation.memory_words import in_words, why
from generation.messages import Ready
from generation.models import ModelFile
from generation.refusal import Refused
from generation.request import GenerationRequest
from storage.database import sqlite_file
from storage.errors import DatabaseError


async def how_models_run(
    config: Config, settings: WorkerSettings, ready: Ready
) -> AsyncIterator[Finding]:
    """A line for each model that can be drawn with, for a picture as its settings make it."""
    catalog = Catalog(config.model_folders, settings=config.models.settings)
    outlook = Outlook(settings.runtime(), ready, config.storage.folder / "cache")
    await catalog.choose_by(outlook.allows())
    await catalog.scan()
    estimates = await _estimates(config)
    held = held_by_check(catalog, config.worker.runtime())
    for model in catalog.checkpoints:
        if model.family not in FAMILIES or not is_whole(model):
            continue  # named among the models
        try:
            request = complete({"prompt": "-", "model": model.name}, catalog, config.rules)
        except Refused:
            continue  # so is that
        plan = outlook.of(model, request, held=held)
        apart = ", ".join(file.name for file in model.parts.values())
        title = f"{model.name} with {apart}" if apart else model.name
        if isinstance(plan, NoRoom):
            mend = "It is tried all the same. A smaller file of it, GGUF or fp8, needs less."
            yield Finding("runs", f"{title}: {in_words(plan)}", mend, fatal=False)
            continue
        seconds = estimates.measured(request)
        timed = f"; {seconds:.1f} s a picture" if seconds is not None else ""
        yield Finding("runs", f"{title}: {in_words(plan)}{timed} ({why(plan)})")
        found = _beside(outlook, ready, model, request, catalog, held)
        if found is not None:
            yield found


def _beside(
    outlook: Outlook,
    ready: Ready,
    model: ModelFile,
    request: GenerationRequest,
    catalog: Catalog,
    held: int,
) -> Finding | None:
    """How it runs with all that could be asked for beside it, where that is otherwise."""
    size, on_device = request.drawn_size, ready.onnx_on_device
    helpers = helpers_there(catalog, model, size, onnx_on_device=on_device)
    plain = outlook.of(model, request, held=held)
    plan = outlook.of(model, request, helpers, held)
    if not helpers or in_words(plan) == in_words(plain):
        return None
    names = ", ".join(dict.fromkeys(one.name for one in helpers))
    said = f"{model.name} beside {names}: {in_words(plan)}"
    if isinstance(plan, NoRoom):
        mend = "It is tried all the same; without them it has room."
        return Finding("runs", said, mend, fatal=False)
    return Finding("runs", f"{said} ({why(plan)})")


async def _estimates(config: Config) -> Estimates:
    """By what was timed so far; nothing where the database can't be read, which is told apart."""
    try:
        file = sqlite_file(database_url(config))
        if file is not None and not file.exists():
            return Estimates()
        async with look_at_store(config) as store:
            return Estimates(await store.jobs.measurements())
    except (DatabaseError, OSError):
        return Estimates()
