"""`python -m bot doctor`: a line for each check, and for each failure how to mend it."""

import asyncio
import importlib.util
import platform
import shutil
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import discord
import psutil

from bot.app import elsewhere, make_engine, why_no_engine
from bot.config import DISCORD_API, PROJECT, Config
from bot.locales import Texts
from bot.storage_folder import (
    LOCK,
    InUseError,
    StartError,
    check_writable,
    database_url,
    look_at_store,
    owning,
    why_no_database,
)
from generation.catalog import Catalog
from generation.checks import known_sampler, known_schedule
from generation.completion import complete
from generation.engines import EngineError
from generation.enlarging import upscaler_of
from generation.families import FAMILIES, RECOGNISED
from generation.messages import Ready
from generation.model_settings import ModelSettings
from generation.models import ModelKind, Unusable
from generation.refusal import Refused
from generation.regular_files import printable
from storage.database import shown_url, sqlite_file
from storage.errors import DatabaseError, SchemaOlderError

GIB = 2**30
PYTHON_MIN, PYTHON_MAX = (3, 11), (3, 14)
DISK_MIN = 2 * GIB
MEMORY_MIN = 4 * GIB
NETWORK_SECONDS = 10
ALIKE_MAX = 20
"""Files with the same fault that are named; behind these their number says as much."""
PERMISSIONS = discord.Permissions(
    view_channel=True,
    send_messages=True,
    send_messages_in_threads=True,
    embed_links=True,
    attach_files=True,
    read_message_history=True,
    add_reactions=True,
)
"""What the bot needs in the channels where it works."""


@dataclass(frozen=True)
class Finding:
    """What a check found. `mend` says what to do; without it all is well."""

    check: str
    found: str
    mend: str = ""
    fatal: bool = True
    """Whether the bot can't work so; else it is worth knowing."""

    def __str__(self) -> str:
        mark = "ok  " if not self.mend else "FAIL" if self.fatal else "note"
        line = f"{mark}  {self.check:<13} {self.found}"
        return f"{line}\n      {'':<13} -> {self.mend}" if self.mend else line


Check = Callable[[Config], AsyncIterator[Finding]]


async def doctor(config: Config) -> int:
    """Print every finding as it comes; returns 1 when anything is fatal."""
    failed = False
    for check in CHECKS:
        async for finding in check(config):
            sys.stdout.write(f"{finding}\n")
            sys.stdout.flush()
            failed |= bool(finding.mend) and finding.fatal
    return int(failed)


async def check_python(_config: Config) -> AsyncIterator[Finding]:
    """The interpreter."""
    found = f"{platform.python_version()} on {platform.system()} {platform.release()}"
    wrong = not PYTHON_MIN <= sys.version_info[:2] <= PYTHON_MAX
    yield Finding("Python", found, "Install Python 3.11 to 3.14." if wrong else "")


async def check_device(config: Config) -> AsyncIterator[Finding]:
    """torch and what it computes on, as the worker process sees them."""
    engine = make_engine(config)
    try:
        ready = await engine.start()
    except EngineError as error:
        if error.failure is not None:
            yield Finding("device", config.worker.device, why_no_engine(error))
            return
        reason = str(error).strip().splitlines()[-1:] or ["it ended"]
        yield Finding("torch", reason[0], 'Run "make install" again.')
        return
    finally:
        await engine.stop()
    versions = ", ".join(f"{name} {version}" for name, version in ready.versions.items())
    yield Finding("torch", versions)
    yield Finding("device", f"{ready.device_name} ({ready.device}), {ready.precision}")
    yield _tuning(ready)
    yield _video_memory(ready)


def _tuning(ready: Ready) -> Finding:
    """What `channels_last` and `compile` do here."""
    last = "weights channels-last" if ready.channels_last else "weights as they come"
    compiled = "compiled, so first pictures take longer" if ready.compiled else "not compiled"
    return Finding("speed", f"{last}; denoisers {compiled}", ready.remark, fatal=False)


def _video_memory(ready: Ready) -> Finding:
    found = f"{ready.memory_total / GIB:.1f} GiB"
    if ready.device == "cpu":
        mend = "No GPU is used: pictures of full-size models take minutes. See README.md, GPUs."
        return Finding("VRAM", "none", mend, fatal=False)
    small = ready.memory_total < MEMORY_MIN
    mend = 'Set memory = "low" in [worker].' if small else ""
    return Finding("VRAM", found, mend, fatal=False)


async def check_settings(config: Config) -> AsyncIterator[Finding]:
    """What config.toml says that can't hold together, and the picture check that it names."""
    try:
        elsewhere(config)
    except StartError as error:
        yield Finding("settings", "[direct_messages]", str(error))
    checker = config.worker.picture_check_model
    if not checker:
        return
    there = await asyncio.to_thread(_is_classifier, Path(checker))
    mend = "It needs a folder with config.json and a .safetensors file. Correct it in [worker]."
    yield Finding("picture check", printable(checker), "" if there else mend)


def _is_classifier(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))


async def check_flags(config: Config) -> AsyncIterator[Finding]:
    """What became of the flags of other programs."""
    for answer in config.worker.flag_answers():
        mend = "" if answer.known else "Correct it in [worker] webui_flags."
        yield Finding("flags", str(answer), mend, fatal=False)


async def check_memory(_config: Config) -> AsyncIterator[Finding]:
    """The computer's own memory."""
    memory = psutil.virtual_memory()
    found = f"{memory.total / GIB:.1f} GiB, {memory.available / GIB:.1f} GiB of it free"
    short = memory.available < MEMORY_MIN
    yield Finding(
        "memory",
        found,
        "Close other programs: models are loaded through it." if short else "",
        fatal=False,
    )


async def check_models(config: Config) -> AsyncIterator[Finding]:
    """Every model folder, every file in them that can't be used, and what the settings name."""
    catalog = Catalog(config.model_folders)
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
            yield Finding("model", f"{model.name} ({FAMILIES[model.family].title})")
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
    if not any(model.family in FAMILIES for model in catalog.checkpoints):
        mend = f"Put a .safetensors checkpoint into {PROJECT / 'models' / 'checkpoints'}."
        yield Finding("models", "no checkpoint that can be used", mend)


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
            )
            yield Finding("[models]", f"default = {_quoted(default)}", mend)
        else:
            if model.family not in FAMILIES:
                mend = "This version can't run its family. Name another."
                yield Finding("[models]", f"default = {_quoted(default)}", mend)
    for name, settings in config.models.settings.items():
        try:
            catalog.get(ModelKind.CHECKPOINT, name)
        except Refused as refused:
            mend = f"It names no checkpoint, so it has no effect. {_nearest(refused)}"
            yield Finding("[models]", f"[models.{_quoted(name)}]", mend, fatal=False)
        yield from _parts(f"[models.{_quoted(name)}]", settings, catalog)
    for model in catalog.checkpoints:
        if model.defaults is not None:
            yield from _parts(f"settings beside {model.name}", model.defaults, catalog)


def _parts(where: str, settings: ModelSettings, catalog: Catalog) -> Iterator[Finding]:
    checks = (
        (settings.sampler, known_sampler),
        (settings.schedule, known_schedule),
        (settings.vae, lambda name: catalog.get(ModelKind.VAE, name)),
    )
    for name, look_up in checks:
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
                mend = f"Change [limits], or its size and steps in [models.{_quoted(model.name)}]."
                yield Finding("[limits]", f"{model.name} with a prompt alone: {why}", mend)


def _enlarging(config: Config, catalog: Catalog) -> Iterator[Finding]:
    """The upscaler that config.toml names, and what all but the plain ones need."""
    wanted = config.enlarging.upscaler
    try:
        upscaler_of(None, catalog, config.enlarging)
    except Refused as refused:
        mend = Texts("en-US")(refused.code, **refused.params)
        yield Finding("[enlarging]", f"upscaler = {_quoted(wanted)}", mend)
    if catalog.upscalers and importlib.util.find_spec("spandrel") is None:
        found = f"{len(catalog.upscalers)} that can't be used: spandrel is not installed"
        mend = 'Run "make install" again. On Windows the line for it is in README.md.'
        yield Finding("upscalers", found, mend, fatal=False)


def _nearest(refused: Refused) -> str:
    return f"Nearest: {refused.params['nearest']}."


def _quoted(name: str) -> str:
    return f'"{printable(name)[:80]}"'


async def check_database(config: Config) -> AsyncIterator[Finding]:
    """That it opens, is whole and has a schema that this version can bring up to date.

    Only looked at: nothing is made, migrated or written.
    """
    url = database_url(config)
    where = shown_url(url)
    try:
        file = sqlite_file(url)
        if file is not None and not file.exists():
            yield Finding("database", f"{where}, which the first start makes")
            return
        async with look_at_store(config) as store:
            waiting = len(await store.jobs.waiting())
    except SchemaOlderError as error:
        yield Finding("database", f"{where}: {error}; the next start brings it up to date")
    except (DatabaseError, OSError) as error:
        wrong = error if isinstance(error, DatabaseError) else DatabaseError(str(error))
        yield Finding("database", where, why_no_database(config, wrong))
    else:
        yield Finding("database", f"{where}, {waiting} jobs waiting")


async def check_disk(config: Config) -> AsyncIterator[Finding]:
    """The storage folder: that it can be written, and has room for pictures."""
    folder = config.storage.folder
    try:
        # a folder that the first start makes is on the disk of the one that it will lie in
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        for path in (folder, folder / "pictures", folder / "cache"):
            if path == folder or path.exists():
                await asyncio.to_thread(check_writable, path if path.exists() else there)
        free = shutil.disk_usage(there).free
    except (StartError, OSError) as error:
        yield Finding("disk", str(folder), str(error))
        return
    low = free < DISK_MIN
    yield Finding(
        "disk",
        f"{free / GIB:.1f} GiB free at {folder}",
        "Free some room, or name another folder in [storage]." if low else "",
        fatal=False,
    )
    if (folder / LOCK).exists():
        try:
            with owning(config):
                pass
        except InUseError:
            yield Finding("storage", f"{folder} is in use by a bot that runs")
        except StartError as error:
            yield Finding("storage", str(folder), str(error))


async def check_discord(config: Config) -> AsyncIterator[Finding]:
    """The token, and with it the bot's intents and its permissions in every server."""
    if not config.token:
        mend = "Put DISCORD_TOKEN=… into .env to connect to Discord; without, the local one starts."
        yield Finding("token", "none", mend, fatal=False)
        return
    api = (config.discord.api or DISCORD_API).rstrip("/") + "/v10"
    headers = {"Authorization": f"Bot {config.token}"}
    timeout = aiohttp.ClientTimeout(total=NETWORK_SECONDS)
    try:
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            async for finding in _check_account(session, api):
                yield finding
    except (aiohttp.ClientError, TimeoutError) as error:
        mend = f"{api} can't be reached ({type(error).__name__}). Check the network and [discord]."
        yield Finding("token", "not checked", mend)


async def _check_account(session: aiohttp.ClientSession, api: str) -> AsyncIterator[Finding]:
    async with session.get(f"{api}/applications/@me") as response:
        if response.status == 401:
            mend = "Discord refuses it. Copy a new one: Developer Portal, your application, Bot."
            yield Finding("token", "wrong", mend)
            return
        response.raise_for_status()
        application = await response.json()
    yield Finding("token", f"belongs to {application['name']}")
    yield Finding("intents", "no privileged one is needed")
    async with session.get(f"{api}/users/@me/guilds") as response:
        response.raise_for_status()
        guilds = await response.json()
    invitation = discord.utils.oauth_url(int(application["id"]), permissions=PERMISSIONS)
    if guilds:
        yield Finding("invitation", invitation)
    else:
        yield Finding("servers", "none", f"Invite the bot: {invitation}", fatal=False)
    for guild in guilds:
        has = discord.Permissions(int(guild["permissions"]))
        missing = [
            name.replace("_", " ")
            for name, needed in PERMISSIONS
            if needed and not (getattr(has, name) or has.administrator)
        ]
        mend = f"Grant the bot: {', '.join(missing)}." if missing else ""
        yield Finding("permissions", guild["name"], mend, fatal=False)


async def check_hugging_face(config: Config) -> AsyncIterator[Finding]:
    """The endpoint that models would come from. Nothing here needs it while models are on disk."""
    endpoint = config.huggingface.endpoint or "https://huggingface.co"
    timeout = aiohttp.ClientTimeout(total=NETWORK_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.head(endpoint):
            yield Finding("Hugging Face", f"{endpoint} answers")
    except ValueError:
        mend = "It is no address: write https://… in [huggingface], or leave it empty."
        yield Finding("Hugging Face", endpoint, mend, fatal=False)
    except (aiohttp.ClientError, TimeoutError) as error:
        mend = (
            f"It can't be reached ({type(error).__name__}). Models on disk work without;"
            " for a mirror set [huggingface] endpoint."
        )
        yield Finding("Hugging Face", endpoint, mend, fatal=False)


CHECKS: tuple[Check, ...] = (
    check_python,
    check_device,
    check_memory,
    check_settings,
    check_flags,
    check_models,
    check_database,
    check_disk,
    check_discord,
    check_hugging_face,
)
