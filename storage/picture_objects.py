"""Pictures in an object store: S3 and whatever speaks its protocol, Google's and Azure's."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Final

from storage.picture_store import HASH, LOOKS_AT_ONCE, ObjectStoreError, PictureStore

BATCH: Final = 500
TIMEOUT: Final = "30s"
RETRIES: Final = 3


class PictureObjects(PictureStore):
    """The files of all pictures below one address, as s3://bucket/prefix."""

    def __init__(
        self, address: str, options: Mapping[str, str] | None = None, *, shared: bool = False
    ) -> None:
        """`options` are those of the `obstore` package for that kind of store, such as `endpoint`,
        `region`, `access_key_id`; what is not among them is read of the environment.

        Raises ValueError for an address or options that can't be, and ImportError without obstore.
        """
        super().__init__(shared=shared)
        import obstore
        from obstore.exceptions import BaseError
        from obstore.store import from_url

        self._address = address.rstrip("/")
        self._objects = obstore
        self._errors = (BaseError, OSError)
        plain = dict(options or {})
        allow_http = plain.get("endpoint", "").startswith("http://")
        try:
            make: Any = from_url
            self._store: Any = make(
                self._address,
                client_options={"allow_http": allow_http, "timeout": TIMEOUT},
                retry_config={"max_retries": RETRIES},
                **plain,
            )
        except (BaseError, TypeError, ValueError) as error:
            raise ValueError(str(error).splitlines()[0]) from error

    def place_of(self, sha256: str) -> str:
        """Its address."""
        return f"{self._address}/{_key(sha256)}"

    async def check(self) -> None:
        """Write an object, read it and delete it. Raises OSError."""
        with self._translated():
            await self._objects.put_async(self._store, "darkroom-check", b"darkroom")
            await self._objects.get_async(self._store, "darkroom-check")
            await self._objects.delete_async(self._store, "darkroom-check")

    async def _write(self, sha256: str, data: bytes) -> None:
        # anew even where it is there: it is no longer old then
        with self._translated():
            await self._objects.put_async(self._store, _key(sha256), data)

    async def _read(self, sha256: str) -> bytes:
        with self._translated():
            found = await self._objects.get_async(self._store, _key(sha256))
            return bytes(await found.bytes_async())

    async def _head(self, sha256: str, count: int) -> bytes:
        with self._translated():
            part = await self._objects.get_range_async(
                self._store, _key(sha256), start=0, length=count
            )
            return bytes(part)

    async def _size(self, sha256: str) -> int:
        with self._translated():
            meta = await self._objects.head_async(self._store, _key(sha256))
        return int(meta["size"])

    async def sizes(self) -> AsyncIterator[list[int]]:
        """The bytes of all objects, some at a time. Raises OSError."""
        listed = self._objects.list(self._store, chunk_size=BATCH)
        while True:
            with self._translated():
                try:
                    some = await anext(listed)
                except StopAsyncIteration:
                    return
            yield [int(each["size"]) for each in some]

    async def _remove(self, files: Sequence[str], unless_since: float | None) -> Sequence[str]:
        if unless_since is not None:
            return await self._remove_old(files, unless_since)
        for start in range(0, len(files), BATCH):
            keys = [_key(sha256) for sha256 in files[start : start + BATCH]]
            with self._translated():
                await self._objects.delete_async(self._store, keys)
        return files

    async def _remove_old(self, files: Sequence[str], moment: float) -> Sequence[str]:
        """Each at once after the look at it, so that nobody writes it in between."""
        places = asyncio.Semaphore(LOOKS_AT_ONCE)

        async def remove(sha256: str) -> bool:
            async with places:
                with self._translated(), contextlib.suppress(FileNotFoundError):
                    meta = await self._objects.head_async(self._store, _key(sha256))
                    if meta["last_modified"].timestamp() >= moment:
                        return False
                    await self._objects.delete_async(self._store, _key(sha256))
            return True

        gone = await asyncio.gather(*map(remove, files))
        return [sha256 for sha256, is_gone in zip(files, gone, strict=True) if is_gone]

    async def _older_than(self, moment: float) -> AsyncIterator[list[str]]:
        listed = self._objects.list(self._store, chunk_size=BATCH)
        while True:
            with self._translated():
                try:
                    some = await anext(listed)
                except StopAsyncIteration:
                    return
            names = [each["path"].rpartition("/")[2] for each in some]
            old = [
                name
                for name, each in zip(names, some, strict=True)
                if HASH.fullmatch(name) and each["last_modified"].timestamp() < moment
            ]
            if old:
                yield old

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """What the store raises is an OSError: FileNotFoundError, or one of our own."""
        try:
            yield
        except FileNotFoundError:
            raise
        except self._errors as error:
            raise ObjectStoreError(str(error).splitlines()[0]) from error


def _key(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256}"
