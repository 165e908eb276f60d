"""`python -m bot doctor`: a line for each check, and for each failure how to mend it."""

import asyncio
import platform
import shutil
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import discord
import psutil

from bot.app import (
    MEND_DATABASE,
    MEND_FOLDER,
    InUseError,
    StartError,
    make_engine,
    open_store,
    owning,
)
from bot.config import DISCORD_API, PROJECT, Config
from bot.locales import Texts
from generation.catalog import Catalog
from generation.completion import known_sampler
from generation.engines import EngineError
from generation.families import FAMILIES, RECOGNISED
from generation.messages import Ready
from generation.model_settings import ModelSettings
from generation.models import ModelKind, Unusable
from generation.refusal import Refused
from generation.regular_files import printable

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
    """Attachment every finding as it comes; returns 1 when anything is fatal."""
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
        reason = str(error).strip().splitlines()[-1:] or ["it ended"]
        yield Finding("torch", reason[0], 'Run "make install" again.')
        return
    finally:
        await engine.stop()
    versions = ", ".join(f"{name} {version}" for name, version in ready.versions.items())
    yield Finding("torch", versions)
    yield Finding("device", f"{ready.device_name} ({ready.device}), {ready.precision}")
    yield _video_memory(ready)


def _video_memory(ready: Ready) -> Finding:
    found = f"{ready.memory_total / GIB:.1f} GiB"
    if ready.device == "cpu":
        mend = "No GPU is used: pictures of full-size models take minutes. See README.md, GPUs."
        return Finding("VRAM", "none", mend, fatal=False)
    small = ready.memory_total < MEMORY_MIN
    mend = 'Set memory = "low" in [worker].' if small else ""
    return Finding("VRAM", found, mend, fatal=False)


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
    if not any(model.family in FAMILIES for model in catalog.checkpoints):
        mend = f"Put a .safetensors checkpoint into {PROJECT / 'models' / 'checkpoints'}."
        yield Finding("models", "no checkpoint that can be used", mend)


def _problems(problems: Sequence[Unusable]) -> Iterator[Finding]:
    """What can't be used; the bot starts with the others. Of many of one kind the first."""
    texts = Texts("en-US")
    counts: Counter[str] = Counter()
    for problem in problems:
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
            mend = f"It names no model, so /imagine needs one named. {_nearest(refused)}"
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
        (settings.vae, lambda name: catalog.get(ModelKind.VAE, name)),
    )
    for name, look_up in checks:
        try:
            if name is not None:
                look_up(name)
        except Refused as refused:
            yield Finding("[models]", where, Texts("en-US")(refused.code, **refused.params))


def _nearest(refused: Refused) -> str:
    return f"Nearest: {refused.params['nearest']}."


def _quoted(name: str) -> str:
    return f'"{printable(name)[:80]}"'


async def check_database(config: Config) -> AsyncIterator[Finding]:
    """That it opens, is whole and has the newest schema."""
    where = config.storage.database or str(config.storage.folder / "darkroom.sqlite3")
    try:
        async with open_store(config) as store:
            waiting = len(await store.jobs.waiting())
        if not config.storage.database:
            await asyncio.to_thread(_check_sqlite, Path(where))
    except StartError as error:
        yield Finding("database", where, str(error))
        return
    except Exception as error:  # noqa: BLE001 - whatever a driver raises, it is a finding
        reason = str(error).splitlines()[0]
        yield Finding("database", where, f"{reason}. {MEND_DATABASE}")
        return
    yield Finding("database", f"{where}, {waiting} jobs waiting")
    try:
        with owning(config):
            pass
    except InUseError:
        yield Finding("storage", f"{config.storage.folder} is in use by a bot that runs")


def _check_sqlite(file: Path) -> None:
    connection = sqlite3.connect(file)
    try:
        [answer] = connection.execute("PRAGMA quick_check").fetchone()
    finally:
        connection.close()
    if answer != "ok":
        raise sqlite3.DatabaseError(answer)


async def check_disk(config: Config) -> AsyncIterator[Finding]:
    """Room for pictures."""
    try:
        free = shutil.disk_usage(config.storage.folder).free
    except OSError as error:
        yield Finding("disk", f"{config.storage.folder}: {error.strerror or error}", MEND_FOLDER)
        return
    low = free < DISK_MIN
    yield Finding(
        "disk",
        f"{free / GIB:.1f} GiB free at {config.storage.folder}",
        "Free some room, or name another folder in [storage]." if low else "",
        fatal=False,
    )


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
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        mend = (
            f"It can't be reached ({type(error).__name__}). Models on disk work without;"
            " for a mirror set [huggingface] endpoint."
        )
        yield Finding("Hugging Face", endpoint, mend, fatal=False)


CHECKS: tuple[Check, ...] = (
    check_python,
    check_device,
    check_memory,
    check_models,
    check_database,
    check_disk,
    check_discord,
    check_hugging_face,
)
