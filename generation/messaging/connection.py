"""One connection to NATS, which comes back by itself, and the streams and stores that are used."""

import asyncio
import base64
import contextlib
import hashlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import structlog

from generation.messaging import wire
from generation.messaging.settings import NatsSettings

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext
    from nats.js.kv import KeyValue
    from nats.js.object_store import ObjectStore

log = structlog.get_logger(__name__)

CONNECT_SECONDS: Final = 5.0
AGAIN_AFTER: Final = 1.0
"""Seconds between two tries to come back."""
PING_EVERY: Final = 5
"""Seconds; a connection on which two were not answered is dead."""
CHUNKS_SECONDS: Final = 30.0
"""In which a picture must have come out of the object store."""
OBJECT_BYTES: Final = 512 * 2**20
"""Of one picture or list of models."""
SWEEP_SECONDS: Final = 5.0
INSTALL: Final = 'pip install "darkroom[nats]"'


class NatsError(Exception):
    """NATS can't be used; the text is a sentence that says why and what to do."""


class GoneError(Exception):
    """Something is not in the object store, or not as it was put there."""


class Connection:
    """What is done on NATS; whatever is asked of it while NATS is away raises one of ERRORS."""

    def __init__(self, client: "Client", settings: NatsSettings) -> None:
        self.client = client
        self.settings = settings
        self.stream: JetStreamContext = client.jetstream(timeout=CONNECT_SECONDS)
        self.back = asyncio.Event()
        """Set while it is connected."""
        self.closed = asyncio.Event()
        self.hosts: KeyValue
        self.drivers: KeyValue
        self.pictures: ObjectStore
        self.models: ObjectStore

    @property
    def there(self) -> bool:
        """Whether NATS answers, as far as is known."""
        return self.back.is_set()

    async def prepare(self) -> None:
        """Make the streams and the stores that are not there. Raises ERRORS."""
        from nats.js.api import KeyValueConfig, RetentionPolicy, StreamConfig

        jobs = StreamConfig(
            name=wire.JOBS,
            subjects=[wire.jobs_of("*")],
            retention=RetentionPolicy.WORK_QUEUE,
            max_age=wire.PICTURES_KEPT,
        )
        results = StreamConfig(
            name=wire.RESULTS, subjects=[wire.results_of("*")], max_age=wire.RESULTS_KEPT
        )
        stream, ttl = self.stream, self.settings.away_after
        hosts = KeyValueConfig(bucket=wire.HOSTS, ttl=ttl)
        drivers = KeyValueConfig(bucket=wire.DRIVERS)
        making: dict[str, Callable[[], Awaitable[Any]]] = {
            wire.JOBS: lambda: stream.add_stream(jobs),
            wire.RESULTS: lambda: stream.add_stream(results),
            f"KV_{wire.HOSTS}": lambda: stream.create_key_value(hosts),
            f"KV_{wire.DRIVERS}": lambda: stream.create_key_value(drivers),
            f"OBJ_{wire.PICTURES}": lambda: stream.create_object_store(
                wire.PICTURES, ttl=wire.PICTURES_KEPT
            ),
            f"OBJ_{wire.MODELS}": lambda: stream.create_object_store(wire.MODELS),
        }
        for name, make in making.items():
            await self._make(name, make)
        self.hosts = await self.stream.key_value(wire.HOSTS)
        self.drivers = await self.stream.key_value(wire.DRIVERS)
        self.pictures = await self.stream.object_store(wire.PICTURES)
        self.models = await self.stream.object_store(wire.MODELS)

    async def keep_beats_for(self, seconds: float) -> None:
        """Have hosts count as gone after so long, whatever it was before. Raises ERRORS."""
        info = await self.stream.stream_info(f"KV_{wire.HOSTS}")
        if info.config.max_age != seconds:
            info.config.max_age = seconds
            info.config.duplicate_window = min(seconds, info.config.duplicate_window)
            await self.stream.update_stream(info.config)

    async def _make(self, name: str, make: Callable[[], Awaitable[Any]]) -> None:
        """Make a stream, unless it is there: who may make none, as a host, may look."""
        from nats.js.errors import BadRequestError, NotFoundError

        try:
            await self.stream.stream_info(name)
        except NotFoundError:
            # another may be quicker, with other settings
            with contextlib.suppress(BadRequestError):
                await make()

    async def put(self, store: "ObjectStore", name: str, data: bytes) -> None:
        """Lay something into an object store. Raises ERRORS."""
        async with asyncio.timeout(CHUNKS_SECONDS):
            await store.put(name, data)

    async def get(self, store: "ObjectStore", name: str, sha256: str) -> bytes:
        """What lies there. Raises GoneError where it does not, has another hash or is larger than
        anything that is laid there, and ERRORS.
        """
        from nats.js.errors import Error, NotFoundError
        from nats.js.errors import ObjectNotFoundError as Missing

        try:
            # one whose chunks are lost would be waited for for ever
            async with asyncio.timeout(CHUNKS_SECONDS):
                into = _Bounded()
                await store.get(name, writeinto=into)  # type: ignore[arg-type]
        except (NotFoundError, Missing) as error:
            raise GoneError(f"{name} is not in the object store") from error
        except Error as error:
            if type(error).__name__ != "DigestMismatchError":
                raise
            raise GoneError(f"{name} is damaged in the object store") from error
        except (_TooLargeError, ValueError, AttributeError, TypeError) as error:
            # whoever may lay something there may lay anything
            raise GoneError(f"{name} is nothing that is put there: {error}") from error
        found = bytes(into.data)
        if hashlib.sha256(found).hexdigest() != sha256:
            raise GoneError(f"{name} is not what was put into the object store")
        return found

    async def remove(self, store: "ObjectStore", name: str) -> None:
        """Take something out of it; what is not there is no error, and NATS away none either: what
        lies there goes by itself after some hours.
        """
        with contextlib.suppress(*errors()):
            await store.delete(name)

    async def sweep(self, session: str) -> None:
        """Remove what a run of a bot has left that is no more, as far as that goes quickly.

        The rest goes by itself after some hours.
        """
        with contextlib.suppress(*errors()):
            async with asyncio.timeout(SWEEP_SECONDS):
                subject = wire.results_of(session)
                await self.stream.purge_stream(wire.RESULTS, subject=subject)
                for name in await self.picture_names():
                    if name.startswith(f"{session}."):
                        await self.remove(self.pictures, name)

    async def picture_names(self) -> list[str]:
        """What lies in the object store of pictures, or lay there. Raises ERRORS.

        By the subjects of its stream: the store's own list waits for ever where something is
        removed while it is made.
        """
        start = f"$O.{wire.PICTURES}.M."
        info = await self.stream.stream_info(f"OBJ_{wire.PICTURES}", subjects_filter=f"{start}>")
        found = []
        for subject in info.state.subjects or {}:
            # whoever may lay pictures there may lay anything
            with contextlib.suppress(ValueError):
                found.append(base64.urlsafe_b64decode(subject.removeprefix(start)).decode())
        return found


class _TooLargeError(Exception):
    """What comes out of the object store has no end."""


class _Bounded:
    """What an object is read into."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, part: bytes) -> None:
        """Raises _TooLargeError."""
        self.data += part
        if len(self.data) > OBJECT_BYTES:
            raise _TooLargeError(f"it has more than {OBJECT_BYTES >> 20} MiB")


def errors() -> tuple[type[Exception], ...]:
    """What is raised while NATS is away, or comes to be."""
    import nats.errors

    return (nats.errors.Error, TimeoutError, OSError)


@contextlib.asynccontextmanager
async def connected(
    settings: NatsSettings, who: str, *, inbox: str = "", waits: bool = True
) -> AsyncIterator[Connection]:
    """A connection for as long as the block runs, or until it is closed for good.

    With `waits` NATS need not be there yet. What answers it gets comes below `_INBOX.` and `inbox`,
    so that a server can keep others from reading them. Raises NatsError where it can't be used as
    the settings have it.
    """
    try:
        import nats
        import nats.errors
    except ImportError:
        raise NatsError(f"[nats] needs nats-py, which is not installed: {INSTALL}") from None
    try:
        options = settings.options()
    except (OSError, ssl.SSLError) as error:
        raise NatsError(f"[nats] names a file that can't be used: {error}") from None
    said: set[str] = set()
    connection: Connection | None = None

    async def on_error(error: Exception) -> None:
        text = str(error) or type(error).__name__
        if text not in said:
            said.add(text)
            log.warning("NATS", error=text, url=settings.shown)

    async def on_lost() -> None:
        if connection is not None and connection.there:
            connection.back.clear()
            log.warning("NATS is away; it is tried again", url=settings.shown)

    async def on_back() -> None:
        if connection is not None:
            said.clear()
            connection.back.set()
            log.info("NATS is back", url=settings.shown)

    async def on_closed() -> None:
        if connection is not None:
            connection.back.clear()
            connection.closed.set()

    try:
        async with asyncio.timeout(None if waits else CONNECT_SECONDS):
            client = await nats.connect(
                **options,
                name=who,
                inbox_prefix=f"_INBOX.{inbox}" if inbox else "_INBOX",
                connect_timeout=int(CONNECT_SECONDS),
                reconnect_time_wait=int(AGAIN_AFTER),
                max_reconnect_attempts=-1,
                ping_interval=PING_EVERY,
                max_outstanding_pings=2,
                allow_reconnect=True,
                error_cb=on_error,
                disconnected_cb=on_lost,
                reconnected_cb=on_back,
                closed_cb=on_closed,
            )
    except (nats.errors.Error, TimeoutError, OSError, ValueError) as error:
        last = next(iter(said), "") or str(error) or "it does not answer"
        raise NatsError(f"NATS at {settings.shown} can't be used: {last}") from error
    except Exception as error:
        # nkeys and credentials files: whatever their library raises
        raise NatsError(f"NATS at {settings.shown} can't be used: {error}") from error
    connection = Connection(client, settings)
    connection.back.set()
    try:
        yield connection
    finally:
        with contextlib.suppress(*errors()):
            async with asyncio.timeout(CONNECT_SECONDS):
                await client.close()


async def fetched(subscription: Any, most: int, seconds: float) -> list[Any]:
    """What a pull subscription gives within that time. Raises ERRORS, also where its consumer is no
    more: the server may have come back without it, and says nothing then.
    """
    try:
        return list(await subscription.fetch(most, timeout=seconds))
    except TimeoutError:
        await subscription.consumer_info()
        return []


async def dropped(subscription: Any) -> None:
    """Listen to it no more; None is none."""
    if subscription is not None:
        with contextlib.suppress(*errors()):
            await subscription.unsubscribe()


async def until_done(
    connection: Connection, act: Callable[[], Awaitable[Any]], *, wanted: Callable[[], bool]
) -> Any:
    """What `act` returns, as soon as NATS lets it, unless it is `wanted` no more: then None."""
    while wanted():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(AGAIN_AFTER):
                await connection.back.wait()
        if not connection.there:
            continue
        try:
            return await act()
        except errors() as error:
            log.debug("not said yet", error=str(error) or type(error).__name__)
            await asyncio.sleep(AGAIN_AFTER / 4)
    return None
