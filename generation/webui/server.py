"""A1111's HTTP API, as Forge and other forks have it too."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Literal, NamedTuple

import aiohttp
import msgspec

from generation.ending import ended
from generation.job import Failure
from generation.models import ModelKind
from generation.programs import web
from generation.programs.faults import EndedError, ServerError
from generation.webui import faults
from generation.webui.names import TheirFile, WebuiNames, files_of, names_of
from generation.webui.settings import CHECKPOINT

DRAWS_WITHIN: Final = aiohttp.ClientTimeout(total=None, sock_connect=5)
"""A picture takes what it takes: whether it comes on is asked beside."""
TaskPlace = Literal["waiting", "running", "over", "unknown"]
API: Final = "/sdapi/v1"


class StateSeen(NamedTuple):
    """What a webui is doing."""

    started: str
    """When the job began that it is at or was at last, to the second."""
    busy: bool
    stopped: bool
    """Whether somebody has stopped that one."""
    passes: int
    """Passes of sampling that are done of it."""
    step: int
    steps: int
    """Of the pass that it is at."""


class WebuiStats(msgspec.Struct, frozen=True, kw_only=True):
    """What it runs on."""

    cuda: bool
    memory_total: int
    memory_free: int


class WebuiServer:
    """One that runs at an address, such as http://127.0.0.1:7860, with the user and the password
    that its `--api-auth` asks for in it, or as `auth`: `user:password`.
    """

    def __init__(self, address: str, auth: str = "") -> None:
        self._site = web.Site(address, auth)
        self.address = self._site.address
        """Without a password."""
        self._leaving: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Leave it."""
        await ended(*self._leaving)
        await self._site.close()

    async def about(self) -> WebuiStats:
        """What it runs on. Raises ServerError."""
        said = await self._get(f"{API}/memory")
        try:
            system = said["cuda"].get("system")
            of = system or said["ram"]
            total, free = int(of.get("total", 0)), int(of.get("free", 0))
            return WebuiStats(cuda=bool(system), memory_total=total, memory_free=free)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ServerError(f"{self.address} is no webui: {error!r}") from error

    async def names(self) -> WebuiNames:
        """What it has now. Raises ServerError."""
        try:
            return await self._names()
        except (ValueError, AttributeError) as error:
            raise ServerError(str(error)) from error

    async def _names(self) -> WebuiNames:
        forge = await self._maybe(f"{API}/sd-modules")
        vaes = forge if forge is not None else await self._maybe(f"{API}/sd-vae")
        models = await self._get(f"{API}/sd-models")
        loras = await self._maybe(f"{API}/loras")
        nets = await self._maybe("/controlnet/model_list") or {}
        words = await self._get(f"{API}/embeddings")
        scripts = await self._get(f"{API}/scripts")
        schedulers = await self._maybe(f"{API}/schedulers") or ()
        upscalers = await self._get(f"{API}/upscalers")
        latent = names_of(await self._maybe(f"{API}/latent-upscale-modes") or ())
        options = await self._get(f"{API}/options")
        if not isinstance(options, dict):
            raise ValueError("its settings can't be read")
        known = {*words.get("loaded", ()), *words.get("skipped", ())}
        return WebuiNames(
            forge=forge is not None,
            tells=await self._maybe("/internal/pending-tasks") is not None,
            samplers=names_of(await self._get(f"{API}/samplers")),
            schedulers=names_of(schedulers, "label"),
            upscalers=names_of(upscalers) | latent,
            face_restorers=names_of(await self._maybe(f"{API}/face-restorers") or ()),
            files={
                ModelKind.CHECKPOINT: files_of(models, "title", "filename"),
                ModelKind.VAE: files_of(vaes or (), "model_name", "filename"),
                ModelKind.LORA: files_of(loras or (), "name", "path"),
                ModelKind.UPSCALER: files_of(upscalers, "name", "model_path"),
                ModelKind.CONTROLNET: tuple(
                    TheirFile(str(title), "") for title in nets.get("model_list", ())
                ),
                ModelKind.EMBEDDING: tuple(TheirFile(str(word), "") for word in sorted(known)),
            },
            scripts=frozenset(str(name).casefold() for name in scripts.get("txt2img") or ()),
            options=options,
        )

    async def refresh(self) -> None:
        """Have it look for files that came since it started. Raises ServerError."""
        for what in ("checkpoints", "vae", "loras", "embeddings"):
            await self._maybe(f"{API}/refresh-{what}", method="POST")

    async def settle(self, settings: Collection[str]) -> None:
        """Have it keep these settings as they are: those that its person has never saved it does
        not set back behind a picture that had them otherwise. Raises ServerError.
        """
        now = await self._get(f"{API}/options")
        kept = {name: now[name] for name in settings if name in now and name != CHECKPOINT}
        # one whose settings are frozen says so of the picture
        async with self._asked("POST", f"{API}/options", json=kept) as answer:
            await answer.read()

    async def draw(self, kind: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """What it says of a picture, `kind` being txt2img or img2img; `images` are the bytes of
        files then, and `info` is read. Raises EndedError and ServerError.
        """
        path = f"{API}/{kind}"
        async with self._asked("POST", path, json=payload, timeout=DRAWS_WITHIN) as answer:
            if answer.status >= 400:
                text = (await web.whole(answer)).decode(errors="replace")
                raise EndedError(*faults.what_failed(answer.status, text))
            said = await web.said(answer)
        try:
            images = [base64.b64decode(_bare(each)) for each in said["images"]]
            return {"images": images, "info": json.loads(said["info"])}
        except (KeyError, TypeError, ValueError) as error:
            raise ServerError(f"a picture was answered by {said!r:.200}") from error

    async def seen(self, *, picture: bool = False) -> tuple[StateSeen, bytes | None]:
        """What it is doing, and what that looks like so far, if wanted. Raises ServerError."""
        wanted = "false" if picture else "true"
        said = await self._get(f"{API}/progress?skip_current_image={wanted}")
        try:
            state, shown = said["state"], said.get("current_image")
            found = StateSeen(
                started=str(state.get("job_timestamp", "")),
                busy=bool(state.get("job")),
                stopped=any(
                    state.get(flag) for flag in ("interrupted", "skipped", "stopping_generation")
                ),
                passes=int(state["job_no"]),
                step=int(state["sampling_step"]),
                steps=int(state["sampling_steps"]),
            )
            return found, base64.b64decode(_bare(shown)) if picture and shown else None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ServerError(f"its progress can't be read: {error!r}") from error

    async def task(
        self, task: str, last: int, *, picture: bool = False
    ) -> tuple[TaskPlace, int, bytes | None]:
        """Where a task is, and what it looks like so far with that one's number, if wanted and
        another than the `last`. Raises ServerError.
        """
        asked = {"id_task": task, "id_live_preview": last, "live_preview": picture}
        said = await self._json("POST", "/internal/progress", json=asked)
        try:
            place: TaskPlace = "unknown"
            for key, name in _PLACES:
                if said[key]:
                    place = name
                    break
            shown = said.get("live_preview")
            number = said.get("id_live_preview")
            return (
                place,
                number if isinstance(number, int) else last,
                base64.b64decode(_bare(shown)) if shown else None,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ServerError(f"its progress can't be read: {error!r}") from error

    async def interrupt(self) -> None:
        """Have it stop whatever it is drawing. Raises ServerError."""
        await self._json("POST", f"{API}/interrupt")

    def leave(self, task: asyncio.Task[None]) -> None:
        """Keep what still has it stop a picture, until that is done."""
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _get(self, path: str) -> Any:
        return await self._json("GET", path)

    async def _json(self, method: str, path: str, **content: Any) -> Any:
        async with self._asked(method, path, **content) as answer:
            if answer.status == 404:
                failure = Failure("webui_no_api", {"address": self.address})
                raise ServerError(f"{self.address}{path} is not there", failure)
            if answer.status >= 400:
                raise ServerError(f"{self.address}{path} answers with status {answer.status}")
            return await web.said(answer)

    async def _maybe(self, path: str, method: str = "GET") -> Any:
        """What only some webuis have; None where this one has it not. Raises ServerError."""
        async with self._asked(method, path) as answer:
            if answer.status >= 400:
                return None
            return await web.said(answer)

    @asynccontextmanager
    async def _asked(
        self, method: str, path: str, **content: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        async with self._site.asked(method, path, **content) as answer:
            if answer.status in (401, 403):
                failure = Failure("webui_password", {"address": self.address})
                raise ServerError(f"{self.address} asks for a password", failure)
            yield answer


def _bare(encoded: str) -> str:
    """The picture of a data URI, or what stands alone."""
    return encoded.partition(",")[2] if encoded.startswith("data:") else encoded


_PLACES: Final[tuple[tuple[str, TaskPlace], ...]] = (
    ("active", "running"),
    ("queued", "waiting"),
    ("completed", "over"),
)
