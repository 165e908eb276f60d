"""ComfyUI's HTTP and WebSocket API, as its own page uses it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

import aiohttp
import msgspec

from generation.comfyui import names
from generation.comfyui.names import Names
from generation.comfyui.nodes import Graph
from generation.programs import web
from generation.programs.faults import ServerError

HEARTBEAT: Final = 30.0
"""Seconds between the pings by which a socket is known to be there still."""
SUBFOLDER: Final = "darkroom"
"""Of its input folder, for pictures to start from."""
Socket = aiohttp.ClientWebSocketResponse
MESSAGE_BYTES: Final = 512 * 2**20
"""Of its socket: the largest pictures."""
QueuePlace = Literal["waiting", "running", "gone"]


class RejectedError(Exception):
    """It takes no such graph: what it said of it, and the classes of the nodes at fault."""

    def __init__(self, said: dict[str, Any]) -> None:
        super().__init__(json.dumps(said)[:2000])
        error = said.get("error")
        self.error: dict[str, Any] = error if isinstance(error, dict) else {"message": str(error)}
        nodes = said.get("node_errors")
        self.nodes: dict[str, Any] = nodes if isinstance(nodes, dict) else {}


class ComfyUIStats(msgspec.Struct, frozen=True, kw_only=True):
    """What it runs on."""

    version: str
    torch: str
    device: str
    """As torch names it."""
    device_name: str
    memory_total: int
    memory_free: int


class ComfyUIServer:
    """One that runs at an address, such as http://127.0.0.1:8188."""

    def __init__(self, address: str) -> None:
        self._site = web.Site(address)
        self.address = self._site.address
        """Without a password."""

    async def close(self) -> None:
        """Leave it."""
        await self._site.close()

    async def about(self) -> ComfyUIStats:
        """What it runs on. Raises ServerError."""
        said = await self._get("/system_stats")
        try:
            system, device = said["system"], said["devices"][0]
            return ComfyUIStats(
                version=str(system.get("comfyui_version", "?")),
                torch=str(system.get("pytorch_version", "?")),
                device=str(device["type"]),
                device_name=str(device["name"]),
                memory_total=int(device["vram_total"]),
                memory_free=int(device["vram_free"]),
            )
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise ServerError(f"{self.address} is no ComfyUI: {error!r}") from error

    async def names(self) -> Names:
        """What it has now. Raises ServerError."""
        found: dict[str, Any] = {}
        for node in names.ASKED:
            said = await self._get(f"/object_info/{node}")
            if isinstance(said, dict):
                found |= said
        try:
            return names.read(found, await self._get("/embeddings"))
        except ValueError as error:
            raise ServerError(str(error)) from error

    async def upload(self, name: str, png: bytes) -> str:
        """Its own name of a picture. Raises ServerError."""
        form = aiohttp.FormData()
        form.add_field("image", png, filename=name, content_type="image/png")
        form.add_field("subfolder", SUBFOLDER)
        form.add_field("overwrite", "true")
        said = await self._post("/upload/image", data=form)
        try:
            folder, file = said["subfolder"], said["name"]
        except (KeyError, TypeError) as error:
            raise ServerError(f"an upload was answered by {said!r:.200}") from error
        return f"{folder}/{file}" if folder else str(file)

    async def draw(self, graph: Graph, client: str) -> str:
        """Queue a graph; its number there. Raises RejectedError and ServerError."""
        said = await self._post("/prompt", json={"prompt": graph, "client_id": client})
        try:
            return str(said["prompt_id"])
        except (KeyError, TypeError) as error:
            raise ServerError(f"a graph was answered by {said!r:.200}") from error

    async def place(self, prompt: str) -> QueuePlace:
        """Where a graph is in its queue. Raises ServerError."""
        said = await self._get("/queue")
        for key, place in _PLACES:
            if any(entry[1] == prompt for entry in said.get(key, ())):
                return place
        return "gone"

    async def leave(self, prompt: str) -> None:
        """Have it draw a graph no more; others are left alone. Raises ServerError."""
        match await self.place(prompt):
            case "running":
                # older versions stop whatever runs, which is this one
                await self._post("/interrupt", json={"prompt_id": prompt})
            case "waiting":
                await self._post("/queue", json={"delete": [prompt]})

    async def view(self, image: dict[str, str]) -> bytes:
        """A picture that it has kept. Raises ServerError."""
        wanted = {key: str(image.get(key, "")) for key in ("filename", "subfolder", "type")}
        async with self._asked("GET", "/view", params=wanted) as answer:
            return await web.whole(answer)

    @asynccontextmanager
    async def events(self, client: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """What it says to a client, for as long as the block runs. Raises ServerError."""
        try:
            socket = await self._site.session.ws_connect(
                f"{self.address}/ws",
                params={"clientId": client},
                heartbeat=HEARTBEAT,
                max_msg_size=MESSAGE_BYTES,
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ServerError(f"{self.address}: {error}") from error
        async with socket:
            yield socket

    async def _get(self, path: str) -> Any:
        async with self._asked("GET", path) as answer:
            return await web.said(answer)

    async def _post(self, path: str, **content: Any) -> Any:
        async with self._asked("POST", path, **content) as answer:
            return await web.said(answer)

    @asynccontextmanager
    async def _asked(
        self, method: str, path: str, **content: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        async with self._site.asked(method, path, **content) as answer:
            if path == "/prompt" and answer.status == 400:
                raise RejectedError(await web.said(answer))
            if answer.status >= 400:
                raise ServerError(f"{self.address}{path} answers with status {answer.status}")
            yield answer


_PLACES: Final[tuple[tuple[str, QueuePlace], ...]] = (
    ("queue_running", "running"),
    ("queue_pending", "waiting"),
)
