"""`python -m generation.runtime.fetch MODEL`: a model of the hub comes into the cache of the hub.

The only code that speaks to the hub. What it says are lines of JSON on stdout, the messages of
`generation/hub.py`; where the hub is, and who asks, it takes from its environment. What was fetched
of a file before is gone on with; nothing is seen in a snapshot before all of it is there.
"""

import hashlib
import json
import os
import re
import shutil
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
import msgspec
from filelock import FileLock, Timeout
from huggingface_hub import HfApi, constants, get_hf_file_metadata, get_session, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import (  # type: ignore[attr-defined] # exported lazily
    build_hf_headers,
    hf_raise_for_status,
)

from generation.hub import (
    MAIN,
    Fetched,
    FetchEvent,
    Fetching,
    FetchPlan,
    FilePlan,
    HubModel,
    NotFetched,
    is_plain,
    read,
)
from generation.hub_files import INDEX, READ, HubFile, NotNeededError, needed
from generation.regular_files import printable
from generation.runtime.fetch_errors import NotFetchedError, no_hub, sentence

CHUNK: Final = 2**20
SAID_EVERY: Final = 0.25
"""Seconds between two messages of how far it is."""
TRIES: Final = 5
"""One after the other without a byte more, before it is given up."""
WAIT: Final = 0.5
"""Seconds before the first of them, doubled each time."""
ANSWER_SECONDS: Final = 30.0
"""So long the hub may be silent."""
SPARE: Final = 2**28
"""Bytes that are left free on the disk."""
GIB: Final = 2**30
_ETAG: Final = re.compile(r"[\w-]{1,200}", re.ASCII)
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")

Say = Callable[[FetchEvent], None]


class Repository:
    """A model on the hub at one commit, and its folder in the cache."""

    def __init__(self, wanted: HubModel) -> None:
        self.wanted = wanted
        name = f"models--{wanted.repository.replace('/', '--')}"
        cache = Path(constants.HF_HUB_CACHE)
        self.folder = cache / name
        self.blobs = self.folder / "blobs"
        self.lock = cache / ".locks" / name / "darkroom.lock"
        self.commit = ""

    @property
    def snapshot(self) -> Path:
        """Where its files are found by their names."""
        return self.folder / "snapshots" / self.commit

    @property
    def growing(self) -> Path:
        """Where they are put: not seen by anybody until all are there, unless some others of this
        commit are. As deep as the snapshot, so that links hold.
        """
        snapshot = self.snapshot
        return snapshot if snapshot.exists() else snapshot.with_name(f".{self.commit}.part")

    def files(self) -> list[HubFile]:
        """What the hub has of it; sets the commit."""
        wanted = self.wanted
        info = HfApi().model_info(
            wanted.repository,
            revision=wanted.revision or MAIN,
            files_metadata=True,
            timeout=ANSWER_SECONDS,
        )
        self.commit = info.sha or ""
        if not _COMMIT.fullmatch(self.commit):
            raise NotFetchedError(no_hub())
        return [
            HubFile(one.rfilename, one.size, one.lfs.sha256 if one.lfs else "", one.blob_id or "")
            for one in info.siblings or ()
            if is_plain(one.rfilename)
        ]

    def index(self, files: Sequence[HubFile]) -> dict[str, Any] | None:
        """What model_index.json says, None where there is none."""
        if not any(file.name == INDEX for file in files) or self.wanted.file:
            return None
        answer = get_session().get(self.address(INDEX), headers=_headers(), timeout=ANSWER_SECONDS)
        hf_raise_for_status(answer)
        try:
            found = json.loads(answer.text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise NotFetchedError(f"{self.wanted}: its {INDEX} is no JSON. Take another model.")
        return found

    def address(self, file: str) -> str:
        """Where a file is fetched from."""
        return hf_hub_url(self.wanted.repository, file, revision=self.commit)


class Download:
    """The files of one model, fetched one after the other into the blobs of its repository."""

    def __init__(self, repository: Repository, files: Sequence[HubFile], say: Say) -> None:
        self._repository = repository
        self._files = files
        self._say = say
        self._done = 0
        self._said = 0.0

    def run(self) -> dict[str, Path]:
        """The blobs by the files' names. Raises NotFetchedError, OSError, httpx2.HTTPError."""
        found: dict[str, Path] = {}
        for file in self._files:
            there = self._repository.growing / file.name
            if _is_whole(there, file):
                self._went_on(there.stat().st_size, file.name)
            else:
                found[file.name] = self._fetched(file)
        return found

    def _fetched(self, file: HubFile) -> Path:
        told = get_hf_file_metadata(
            self._repository.address(file.name), timeout=ANSWER_SECONDS, retry_on_errors=True
        )
        etag, size = told.etag or "", file.size if file.size is not None else told.size
        if not _ETAG.fullmatch(etag) or size is None:
            raise NotFetchedError(no_hub())
        blob = self._repository.blobs / etag
        if not (blob.is_file() and blob.stat().st_size == size):
            part = blob.with_name(f"{etag}.part")
            headers = _headers()
            if httpx2.URL(told.location).host not in constants.HF_URL_HOSTS:
                # signed addresses elsewhere; the token is the hub's business
                headers.pop("authorization", None)
            self._stream(told.location, headers, part, size, file.name)
            _check(part, file)
            part.replace(blob)
        else:
            self._went_on(size, file.name)
        return blob

    def _stream(
        self, address: str, headers: dict[str, str], part: Path, size: int, name: str
    ) -> None:
        """Bring a part to its size, from where it ends."""
        have = part.stat().st_size if part.exists() else 0
        if have > size:
            part.unlink()
            have = 0
        self._went_on(have, name)
        failures = 0
        while have < size:
            before = have
            try:
                have = self._read_on(address, headers, part, have, name)
            except (httpx2.TransportError, HfHubHTTPError) as error:
                if not _passes(error):
                    raise
                now = part.stat().st_size if part.exists() else 0
                failures = 1 if now > before else failures + 1
                have = now
                if failures == TRIES:
                    raise _cut_off(self._done, error) from error
                time.sleep(WAIT * 2 ** (failures - 1))
            else:
                failures = failures + 1 if have == before else 0
                if failures == TRIES:
                    raise _cut_off(self._done, None)
        if have > size:
            part.unlink()
            raise NotFetchedError(f"{printable(name)} came longer than the hub says. Try again.")

    def _read_on(
        self, address: str, headers: dict[str, str], part: Path, have: int, name: str
    ) -> int:
        """How much of it there is at the end of one answer."""
        asked = {**headers, "Accept-Encoding": "identity"}
        if have:
            asked["Range"] = f"bytes={have}-"
        with get_session().stream("GET", address, headers=asked, timeout=ANSWER_SECONDS) as answer:
            hf_raise_for_status(answer)
            if have and answer.status_code != httpx2.codes.PARTIAL_CONTENT:
                # it knows no ranges, and begins anew
                self._went_on(-have, name)
                have = 0
            with part.open("ab" if have else "wb") as out:
                for chunk in answer.iter_bytes(CHUNK):
                    out.write(chunk)
                    have += len(chunk)
                    self._went_on(len(chunk), name)
        return have

    def _went_on(self, count: int, name: str) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._said >= SAID_EVERY:
            self._said = now
            self._say(Fetching(self._done, name))


def fetch(wanted: HubModel, say: Say) -> Fetched:
    """Bring a model into the cache. Raises NotFetchedError, OSError, httpx2.HTTPError."""
    repository = Repository(wanted)
    files = repository.files()
    try:
        chosen = needed(files, wanted.file, repository.index(files))
    except NotNeededError as error:
        raise NotFetchedError(f"{wanted.repository} {error}.") from None
    if unread := [file.name for file in chosen if not file.name.lower().endswith(READ)]:
        raise NotFetchedError(f"{wanted}: {unread[0]} is of no kind that is fetched.")
    with _alone(repository):
        repository.blobs.mkdir(parents=True, exist_ok=True)
        say(_planned(repository, chosen))
        place(repository, Download(repository, chosen, say).run())
    return Fetched(str(repository.snapshot), [file.name for file in chosen])


@contextmanager
def _alone(repository: Repository) -> Iterator[None]:
    repository.lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(repository.lock, timeout=0):
            yield
    except Timeout:
        why = f"{repository.wanted} is being fetched by another process. Wait for it."
        raise NotFetchedError(why, lasting=False) from None


def _planned(repository: Repository, files: Sequence[HubFile]) -> FetchPlan:
    """What is to be fetched. Raises NotFetchedError where there is no room for it."""
    there = 0
    for file in files:
        blob = repository.blobs / (file.sha256 or file.git)
        part = blob.with_name(f"{blob.name}.part")
        if _is_whole(repository.growing / file.name, file) or _is_whole(blob, file):
            there += file.size or 0
        elif file.sha256 and part.is_file():
            there += part.stat().st_size
    free = shutil.disk_usage(repository.folder).free
    plan = FetchPlan([FilePlan(file.name, file.size or 0) for file in files], there, free)
    if plan.total - there + SPARE > free:
        needs = f"{(plan.total - there) / GIB:.1f} GiB"
        raise NotFetchedError(
            f"{repository.wanted} needs {needs} more, and {free / GIB:.1f} GiB are free on the disk"
            " of the cache. Free some room there, or name another cache in [huggingface].",
            lasting=False,
        )
    return plan


def place(repository: Repository, blobs: dict[str, Path]) -> None:
    """Have a snapshot show files that lie in the blobs, the list of a pipeline's parts last."""
    growing = repository.growing
    uses = Counter(blobs.values())
    for name, blob in sorted(blobs.items(), key=lambda item: item[0] == INDEX):
        pointer = growing / name
        pointer.parent.mkdir(parents=True, exist_ok=True)
        pointer.unlink(missing_ok=True)
        uses[blob] -= 1
        try:
            pointer.symlink_to(os.path.relpath(blob, pointer.parent))
        except OSError:
            # Windows without the right to make links: the file itself, as the hub's library does
            if uses[blob]:
                shutil.copyfile(blob, pointer)
            else:
                blob.replace(pointer)
    if growing != repository.snapshot:
        growing.rename(repository.snapshot)
    reference = repository.folder / "refs" / (repository.wanted.revision or MAIN)
    if not _COMMIT.fullmatch(reference.name):
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(repository.commit, encoding="utf-8")


def _is_whole(path: Path, file: HubFile) -> bool:
    try:
        return path.is_file() and file.size in (None, path.stat().st_size)
    except OSError:
        return False


def _check(part: Path, file: HubFile) -> None:
    """Hold a file against what the hub says that it is. Raises NotFetchedError."""
    digest, said = hashlib.sha256(), file.sha256
    if not said:
        digest, said = hashlib.sha1(usedforsecurity=False), file.git
        digest.update(f"blob {part.stat().st_size}\0".encode())
    with part.open("rb") as content:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
    if said and digest.hexdigest() != said:
        part.unlink()
        raise NotFetchedError(
            f"{printable(file.name)} came damaged, and was removed. Try again, or another mirror.",
            lasting=False,
        )


def _headers() -> dict[str, str]:
    headers: dict[str, str] = build_hf_headers(library_name="darkroom")
    return headers


def _passes(error: Exception) -> bool:
    """Whether what went wrong may go right a moment later."""
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in (408, 429, 500, 502, 503, 504)
    return not isinstance(error, httpx2.UnsupportedProtocol | httpx2.ProxyError)


def _cut_off(done: int, error: Exception | None) -> NotFetchedError:
    kind = f" ({type(error).__name__})" if error else ""
    return NotFetchedError(
        f"The connection to the hub broke off{kind} at {done / GIB:.2f} GiB. What is there is kept:"
        " run it again, and it goes on from there.",
        lasting=False,
    )


def main() -> int:
    """Fetch one model; the last line says what became of it."""
    warnings.simplefilter("ignore")
    wanted = read(sys.argv[1])

    def say(event: FetchEvent) -> None:
        # a parent that is gone ends this process, too
        sys.stdout.write(msgspec.json.encode(event).decode() + "\n")
        sys.stdout.flush()

    event: FetchEvent
    try:
        event = fetch(wanted, say)
    except BrokenPipeError:
        return 1
    except Exception as error:  # noqa: BLE001 - whatever it is, one sentence says it
        event = sentence(wanted, error, token="authorization" in _headers())
    say(event)
    return int(isinstance(event, NotFetched))


if __name__ == "__main__":
    sys.exit(main())
