"""Attachments and avatars: signed links that end after a day, as on Discord's CDN."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import io
from urllib.parse import quote

from aiohttp import web
from PIL import Image, ImageDraw

from .world import Attachment, World

LINK_LIFETIME = 24 * 3600
"""Seconds."""

AVATAR_COLORS = ("#5865f2", "#757e8a", "#3ba55d", "#faa61a", "#ed4245", "#eb459e")

INLINE = ("image/", "video/", "audio/", "text/plain")


class Cdn:
    """Makes and checks links; the bytes lie in the world's store."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.base = ""
        """`http://127.0.0.1:PORT`, known once the server listens."""

    def link(self, attachment: Attachment) -> str:
        path = f"/cdn/attachments/{attachment.channel_id}/{attachment.id}/{attachment.filename}"
        # whole hours, as Discord's: the same link for a while, so that caches work
        issued = int(self.world.clock.told()) // 3600 * 3600
        ends, starts = f"{issued + LINK_LIFETIME + 3600:x}", f"{issued:x}"
        signature = self._sign(path, ends, starts)
        return f"{self.base}{quote(path)}?ex={ends}&is={starts}&hm={signature}&"

    def valid(self, path: str, ends: str, starts: str, signature: str) -> bool:
        try:
            expired = int(ends, 16) <= self.world.clock.told()
        except ValueError:
            return False
        expected = self._sign(path, ends, starts)
        return not expired and hmac.compare_digest(expected.encode(), signature.encode())

    def _sign(self, path: str, ends: str, starts: str) -> str:
        text = f"{path}|{ends}|{starts}".encode()
        return hmac.new(self.world.secret.encode(), text, hashlib.sha256).hexdigest()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/cdn/attachments/{channel}/{id}/{filename}", self.serve_attachment),
            web.get("/cdn/embed/avatars/{index}.png", self.serve_default_avatar),
        ]

    async def serve_attachment(self, request: web.Request) -> web.Response:
        found, query = request.match_info, request.query
        if not self.valid(
            request.path, query.get("ex", ""), query.get("is", ""), query.get("hm", "")
        ):
            raise web.HTTPNotFound(text="This content is no longer available.")
        content = await asyncio.to_thread(self.world.store.read_file, found["id"])
        attachment = self.world.attachment(found["id"])
        if content is None or attachment is None:
            raise web.HTTPNotFound(text="This content is no longer available.")
        kind = attachment.content_type or "application/octet-stream"
        how = "inline" if kind.startswith(INLINE) and "svg" not in kind else "attachment"
        return web.Response(
            body=content,
            headers={
                "Content-Type": kind,
                "Content-Disposition": f"{how}; filename*=UTF-8''{quote(attachment.filename)}",
                "Cache-Control": "private, max-age=3600",
                "X-Content-Type-Options": "nosniff",
                # the page has the same origin: nothing that was uploaded may act as the page
                "Content-Security-Policy": "default-src 'none'; sandbox",
            },
        )

    async def serve_default_avatar(self, request: web.Request) -> web.Response:
        index = request.match_info["index"]
        if not index.isdigit() or int(index) >= len(AVATAR_COLORS):
            raise web.HTTPNotFound
        return web.Response(
            body=default_avatar(int(index)),
            content_type="image/png",
            headers={"Cache-Control": "private, max-age=86400"},
        )


def default_avatar(index: int) -> bytes:
    """A plain head and shoulders on one of Discord's colours, 128 pixels square, PNG."""
    image = Image.new("RGB", (128, 128), AVATAR_COLORS[index])
    draw = ImageDraw.Draw(image)
    draw.ellipse((40, 24, 88, 72), fill="white")
    draw.ellipse((20, 80, 108, 176), fill="white")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
