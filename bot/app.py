"""The only place where objects are made and joined."""

import asyncio
import contextlib
import gc
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
import psutil
import structlog

from bot.access import blocklist
from bot.client import DarkroomClient, point_to
from bot.clock import DiscordClock
from bot.config import Config, WorkerSettings
from bot.connection import RefusedError, stay_connected
from bot.delivery.audit import Audit
from bot.delivery.surroundings import JobSurroundings
from bot.delivery.tracker import Tracker
from bot.features.actions.handlers import on_button
from bot.features.actions.more import on_more
from bot.fetching import fetch_awaited
from bot.locales import Texts
from bot.metrics import Metrics
from bot.metrics_server import serving_metrics
from bot.pausing import Drained, PauseSwitch, drain
from bot.pictures.attachments import JobAttachments
from bot.pictures.decoding import PictureDecoder
from bot.presence import show_presence
from bot.relay import Relay, recover
from bot.requests.service import RequestService
from bot.services import Services
from bot.storage_folder import StartError, make_writable, open_store, owning
from bot.tracing import trace_jobs
from generation.catalog import Catalog
from generation.describing import rater_of
from generation.engines import Engine, EngineError
from generation.engines.comfyui import ComfyUIEngine
from generation.engines.helper import Helper
from generation.engines.process import ProcessEngine
from generation.engines.program import ProgramEngine
from generation.engines.webui import WebuiEngine
from generation.fleet.catalog import FleetCatalog
from generation.fleet.hosts import Fleet
from generation.info.file_hashes import FileHashes
from generation.memory_outlook import Outlook
from generation.messages import NO_CHECK
from generation.programs.placing import ProgramPlaces
from generation.refusal import Refused
from generation.worker_pool import WorkerPool
from storage.errors import DatabaseError
from storage.jobs import JobStore
from storage.settings import ElsewhereSettings
from storage.store import Store

log = structlog.get_logger(__name__)

RESCAN_SECONDS = 30.0
"""How soon a model is found that was dropped into a folder."""
RESCAN_SHARE = 20.0
"""So many times as long as a scan takes is the pause behind it."""
MODELS_WAIT = 120.0
"""Seconds that jobs wait for the first scan; a drive may never answer."""

READY_SECONDS = 5.0
"""How soon the database has to answer."""
UNUSED_AFTER = timedelta(days=1)
TIDY_SECONDS = 86400.0
RETAIN_SECONDS = 3600.0


@dataclass(frozen=True)
class Studio:
    """All that makes pictures, without anybody to talk to."""

    config: Config
    store: Store
    catalog: Catalog
    workers: WorkerPool
    pausing: PauseSwitch
    decoder: PictureDecoder
    clock: DiscordClock
    fleet: Fleet | None = None
    """Workers on other hosts, where there may be any."""

    @property
    def jobs(self) -> JobStore:
        """The jobs in the store."""
        return self.store.jobs


async def run(config: Config) -> int:
    """Run the bot until it is interrupted: on Discord, or without a token on the local one."""
    async with contextlib.AsyncExitStack() as stack:
        studio = await stack.enter_async_context(open_studio(config, scan=False))
        if not config.token:
            config = await stack.enter_async_context(_local_discord(config))
        point_to(config.discord)
        for answer in config.worker.flag_answers():
            log.info("webui_flags", flag=answer.flag, became=answer.says)
        recovered = await recover(studio.store)
        if recovered:
            log.info("taken up again", jobs=[job.id for job in recovered])
        metrics = Metrics(studio.workers)
        client = make_client(config, studio, metrics)
        relay = make_relay(studio, client) if config.storage.process else None
        trace_jobs(studio.workers, client.services.delivery)
        watched = serving_metrics(config.metrics, metrics, partial(why_not_ready, studio, client))
        await stack.enter_async_context(watched)
        await stack.enter_async_context(client)
        gc.collect()
        gc.freeze()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(stay_connected(client, config.token))
                group.create_task(_work(studio, group.create_task(_prepare(studio))))
                group.create_task(_scan(studio))
                group.create_task(fetch_awaited(config.huggingface, studio.catalog))
                group.create_task(_tidy(studio))
                group.create_task(_retain(studio, client))
                if relay is not None:
                    group.create_task(relay.run())
                if studio.fleet is not None:
                    group.create_task(studio.fleet.run())
                group.create_task(_keep_out_of_collections(client, studio.catalog))
                if config.discord.presence:
                    group.create_task(show_presence(client, studio.workers))
                delivery, folder = client.services.delivery, config.storage.folder
                group.create_task(drain(folder, studio.workers, lambda: delivery.delivering))
        except* Drained:
            log.info("the end")
        except* RefusedError as refused:
            raise StartError(str(refused.exceptions[0])) from None
    return 0


def make_client(config: Config, studio: Studio, metrics: Metrics | None = None) -> DarkroomClient:
    """The Discord client, and the services that it carries."""
    store, checking = studio.store, config.worker

    def unsafe_from() -> float | None:
        return checking.picture_check_threshold if checks_pictures(config, studio.catalog) else None

    trace = metrics.trace() if metrics is not None else None
    client = DarkroomClient(config.discord, config.storage.folder / "cache", trace)
    attachments = JobAttachments(
        store.jobs, store.settings, studio.decoder, unsafe_from, store.approvals
    )
    requests = RequestService(store, studio.workers, studio.catalog, config.rules, studio.clock)
    audit = Audit(client, store.settings, studio.workers, config.storage.process)
    around = JobSurroundings(store.jobs, studio.catalog)
    requests.listen(audit.refused)
    client.services = Services(
        requests=requests,
        store=store,
        catalog=studio.catalog,
        workers=studio.workers,
        decoder=studio.decoder,
        delivery=Tracker(
            client,
            store,
            studio.workers,
            attachments,
            studio.decoder,
            studio.clock,
            around,
            requests.remaking.accepts,
            audit,
        ),
        audit=audit,
        clock=studio.clock,
        discord=config.discord,
        hashes=FileHashes(config.storage.folder / "cache"),
        pausing=studio.pausing,
        outlook=partial(outlook_of, config, studio.workers),
        on_action=on_button,
        on_more=on_more,
        fleet=studio.fleet,
    )
    studio.pausing.listen(client.services.delivery.queue_changed)
    if metrics is not None:
        metrics.observe_client(client)
        client.services.delivery.listen(metrics.delivered)
    return client


def make_relay(studio: Studio, client: DarkroomClient) -> Relay:
    """What tells the other processes, and hears them."""
    delivery = client.services.delivery
    return Relay(studio.store, studio.workers, studio.pausing, delivery.take_up)


async def why_not_ready(studio: Studio, client: DarkroomClient) -> dict[str, str]:
    """What keeps the bot from its work, by what is wrong; empty where nothing does."""
    wrong = {}
    if not client.online:
        wrong["discord"] = "not connected"
    if studio.workers.ready is None and not studio.workers.others:
        wrong["worker"] = "not started"
    try:
        async with asyncio.timeout(READY_SECONDS):
            await studio.jobs.newest_id()
    except (DatabaseError, TimeoutError) as error:
        wrong["database"] = str(error) or "does not answer"
    return wrong


def checks_pictures(config: Config, catalog: Catalog) -> bool:
    """Whether something looks at what is drawn: what the settings name, or a tagger."""
    named = config.worker.picture_check_model
    return named != NO_CHECK and (bool(named) or rater_of(catalog) is not None)


def outlook_of(config: Config, workers: WorkerPool) -> Outlook | None:
    """How models run here; None until the engine has started."""
    own = {_full_name(config, name): each for name, each in config.drawing.items()}
    for worker in workers.workers:
        settings = own.get(worker.name)
        if settings is None or settings.engine != "darkroom":
            continue
        if worker.ready is not None:
            return Outlook(settings.runtime(), worker.ready, config.storage.folder / "cache")
    return None


def make_engines(config: Config, helper: Helper | None = None) -> dict[str, Engine]:
    """The engines that the settings ask for, by worker, not yet started; `helper` does what the
    programs of others can't.
    """
    return {name: _engine(config, settings, helper) for name, settings in config.drawing.items()}


def make_helper(config: Config) -> Helper:
    """What does beside the programs of others what these can't; on the processor, since the
    graphics card is theirs.
    """
    runtime = msgspec.structs.replace(config.worker.runtime(), device="cpu")
    cache, hang_after = config.storage.folder / "cache", config.worker.hang_after
    return Helper(ProcessEngine(runtime, cache=cache, hang_after=hang_after), runtime)


def _engine(config: Config, settings: WorkerSettings, helper: Helper | None) -> Engine:
    if settings.engine != "darkroom":
        return _program(config, settings, helper)
    runtime = settings.runtime()
    if len(config.engines) > 1 and not runtime.ram_limit:
        # each takes half of the memory for its own where nobody says otherwise
        share = psutil.virtual_memory().total / 2**30 / 2 / len(config.engines)
        runtime = msgspec.structs.replace(runtime, ram_limit=share)
    return ProcessEngine(
        runtime,
        cache=config.storage.folder / "cache",
        hang_after=settings.hang_after,
        stop_within=config.worker.stop_within,
    )


def _program(config: Config, settings: WorkerSettings, helper: Helper | None) -> Engine:
    """The engine that has a program of others draw."""
    address, auth = settings.program_address, config.webui_auth
    webui = settings.engine == "webui"
    make = partial(WebuiEngine, auth=auth) if webui else ComfyUIEngine
    made: Engine = make(
        address,
        cache=config.storage.folder / "cache",
        hang_after=settings.hang_after,
        preview_every=settings.preview_every,
        helper=helper,
    )
    return made


@contextlib.asynccontextmanager
async def open_studio(
    config: Config, engine: Engine | None = None, *, scan: bool = True
) -> AsyncIterator[Studio]:
    """The store, the models and the engine, ended when the block ends.

    With `scan` the models are known at once; else whoever runs it looks for them. Raises
    InUseError when another process has them.
    """
    clock = DiscordClock()
    with owning(config):
        async with open_store(config, elsewhere=elsewhere(config), now=clock.now) as store:
            cache = config.storage.folder / "cache" / "models.msgpack"
            own = Catalog(config.model_folders, cache, config.models.settings)
            catalog = FleetCatalog(own) if config.nats.url else own
            if scan:
                await catalog.scan()
            workers = WorkerPool(store.jobs, catalog, affinity=config.queue.model_affinity)
            fleet = _fleet(config, workers, catalog)
            runs = None if fleet is None else fleet.places.runs_here
            helper = make_helper(config)
            engines = (
                make_engines(config, helper)
                if engine is None
                else dict.fromkeys(config.drawing, engine)
            )
            theirs = {n: each for n, each in engines.items() if isinstance(each, ProgramEngine)}
            placing = ProgramPlaces(theirs, own, alone=config.only_programs)
            for name, each in engines.items():
                full = _full_name(config, name)
                if name in theirs:
                    takes, would = placing.runs(name), placing.would(name)
                    check = partial(placing.check, name)
                    theirs[name].moved = workers.moved
                    workers.add(
                        *(full, each),
                        runs=takes,
                        check=check,
                        catalog=own,
                        would=would,
                        program=theirs[name].title,
                    )
                else:
                    workers.add(full, each, runs=runs, catalog=own)
            try:
                async with PictureDecoder(config.limits) as decoder:
                    pausing = PauseSwitch(config.storage.folder, workers)
                    yield Studio(config, store, catalog, workers, pausing, decoder, clock, fleet)
            finally:
                await workers.stop()
                await helper.stop()


def _full_name(config: Config, worker: str) -> str:
    """A worker's name among those of all processes."""
    return f"{config.storage.process}/{worker}" if config.storage.process else worker


def _fleet(config: Config, workers: WorkerPool, catalog: Catalog) -> Fleet | None:
    if not isinstance(catalog, FleetCatalog):
        return None
    return Fleet(
        config.nats,
        workers,
        catalog,
        config.storage.folder / "cache",
        needs_check=lambda: checks_pictures(config, catalog),
        named=partial(_full_name, config),
    )


def elsewhere(config: Config) -> ElsewhereSettings:
    """What holds where no server's settings do. Raises StartError for what can't hold."""
    wanted = config.direct_messages
    try:
        blocklist.compiled(wanted.blocklist)
    except Refused as refused:
        why = Texts("en-US")(refused.code, **refused.params)
        raise StartError(f"{why} Correct [direct_messages] blocklist in config.toml.") from None
    if wanted.picture_check != "off" and config.worker.picture_check_model == NO_CHECK:
        raise StartError(
            "[direct_messages] picture_check needs a picture check, and picture_check_model in"
            ' [worker] is "off": name one there, or leave it empty for a tagger.'
        )
    return ElsewhereSettings(
        enabled=wanted.enabled,
        quota=wanted.quota or None,
        waiting=wanted.waiting or None,
        blocklist=wanted.blocklist,
        blocked=wanted.blocked,
        picture_check=wanted.picture_check,
        spoiler=wanted.spoiler,
    )


@contextlib.asynccontextmanager
async def _local_discord(config: Config) -> AsyncIterator[Config]:
    """Start the local Discord and point the settings to it, unless they name one already."""
    if config.discord.api:
        yield msgspec.structs.replace(config, token="local")
        return
    from playground.process import DidNotStart, local_discord

    data = config.storage.folder / "playground"
    await asyncio.to_thread(make_writable, data)
    try:
        async with local_discord(data=data, port=config.playground.port) as found:
            sys.stdout.write(f"\n  Open {found.url} in a browser and type /imagine.\n\n")
            sys.stdout.flush()
            yield msgspec.structs.replace(
                config,
                token=found.token,
                discord=msgspec.structs.replace(
                    config.discord, api=found.api, gateway=found.gateway
                ),
            )
    except DidNotStart:
        raise StartError(
            f"The local Discord did not start. Is port {config.playground.port} in use?"
            " Name another in [playground]."
        ) from None


async def start_engines(studio: Studio) -> None:
    """Start all, and have the parts of models chosen by the memory that the first finds. Raises
    EngineError where none starts.
    """
    started = await asyncio.gather(
        *(worker.engine.start() for worker in studio.workers.workers), return_exceptions=True
    )
    failed = [error for error in started if isinstance(error, BaseException)]
    for error in failed:
        if not isinstance(error, EngineError) or len(failed) == len(started):
            raise error
        log.error("a worker does not start", error=why_no_engine(error))
    outlook = outlook_of(studio.config, studio.workers)
    if outlook is not None:
        await studio.catalog.choose_by(outlook.allows())


async def _prepare(studio: Studio) -> None:
    """Import torch in the worker before anybody waits for it."""
    try:
        await start_engines(studio)
    except EngineError as error:
        # the next job tries again and is told; doctor says what to mend
        log.error("the worker does not start", error=why_no_engine(error))


def why_no_engine(error: EngineError) -> str:
    """The sentence for settings that the engine can't work with, or what it said at its end."""
    failure = error.failure
    return Texts("en-US")(failure.code, **failure.params) if failure else str(error)


async def _work(studio: Studio, preparing: asyncio.Future[Any]) -> None:
    """Draw, once it is known with what: a job of before this start may name any model.

    Once cancelled, nothing is drawn on while the rest comes to its end.
    """
    try:
        await studio.catalog.ready(MODELS_WAIT)
        await asyncio.wait((preparing,))
        await studio.workers.run()
    finally:
        await studio.workers.stop()


async def _scan(studio: Studio) -> None:
    """Look for models, at once and again and again; the slower it is, the less often."""
    while True:
        began = time.monotonic()
        try:
            await studio.catalog.scan()
        except Exception:
            # what was found before stays
            log.exception("the model folders can't be read")
        took = time.monotonic() - began
        await asyncio.sleep(max(RESCAN_SECONDS, took * RESCAN_SHARE))


async def _keep_out_of_collections(client: DarkroomClient, catalog: Catalog) -> None:
    """Have the garbage collector pass over what start-up has left: to look through all of it takes
    a tenth of a second in which nobody is answered, with ten thousand models far longer.
    """
    await client.registered.wait()
    await catalog.ready()
    # people are there already, so what is garbage just now stays
    gc.freeze()


async def _tidy(studio: Studio) -> None:
    """Remove pictures that somebody sent with a request that came to nothing."""
    while True:
        try:
            removed = await studio.store.personal.sweep(UNUSED_AFTER)
            if removed:
                log.info("unused pictures removed", count=removed)
        except (OSError, DatabaseError) as error:
            log.warning("unused pictures can't be removed", error=str(error))
        await asyncio.sleep(TIDY_SECONDS)


async def _retain(studio: Studio, client: DarkroomClient) -> None:
    """Let go of what is older than it is to be kept, and take its messages off Discord."""
    while True:
        try:
            gone = await studio.store.retention.keep_to(studio.config.retention)
            client.services.delivery.chores.take_back(gone.messages)
            if gone.jobs or gone.pictures:
                log.info("what is old was removed", requests=gone.jobs, pictures=gone.pictures)
            if gone.too_much:
                log.warning(
                    "more than disk_gib in [retention] is taken by favourites and by what requests"
                    " start from: raise it, or keep requests for fewer days",
                    gib_too_many=round(gone.too_much / 2**30, 2),
                )
        except (OSError, DatabaseError) as error:
            log.warning("old pictures can't be removed", error=str(error))
        await asyncio.sleep(RETAIN_SECONDS)
