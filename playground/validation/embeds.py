"""Embeds: ten a message, 6000 characters in all, and each part's own bound."""

from __future__ import annotations

from datetime import datetime

from playground.world import Json

from .form import Form

MAX_EMBEDS = 10
MAX_TOTAL = 6000
MEDIA = ("http", "https", "attachment")


def check_embeds(form: Form, body: Json) -> None:
    total = 0
    for place, embed in form.items(body, "embeds", at_most=MAX_EMBEDS):
        total += _check_embed(place, embed)
    if total > MAX_TOTAL:
        message = f"Embed size exceeds maximum size of {MAX_TOTAL}"
        form["embeds"].error("MAX_EMBED_SIZE_EXCEEDED", message)


def _check_embed(form: Form, embed: Json) -> int:
    """Returns how many characters count towards the total."""
    total = len(form.text(embed, "title", at_most=256))
    total += len(form.text(embed, "description", at_most=4096))
    form.url(embed, "url")
    form.number(embed, "color", 0, 0xFFFFFF)
    _check_timestamp(form, embed)
    for part in ("image", "thumbnail"):
        if (media := form.inner(embed, part)) is not None:
            form[part].url(media, "url", required=True, schemes=MEDIA)
    if (footer := form.inner(embed, "footer")) is not None:
        total += len(form["footer"].text(footer, "text", at_most=2048, required=True))
        form["footer"].url(footer, "icon_url", schemes=MEDIA)
    if (author := form.inner(embed, "author")) is not None:
        total += len(form["author"].text(author, "name", at_most=256, required=True))
        form["author"].url(author, "url")
        form["author"].url(author, "icon_url", schemes=MEDIA)
    for place, field in form.items(embed, "fields", at_most=25):
        total += len(place.text(field, "name", at_least=1, at_most=256, required=True))
        total += len(place.text(field, "value", at_least=1, at_most=1024, required=True))
        place.flag(field, "inline")
    return total


def _check_timestamp(form: Form, embed: Json) -> None:
    value = embed.get("timestamp")
    if value is None:
        return
    try:
        datetime.fromisoformat(value)
    except (TypeError, ValueError):
        message = f"Could not parse {value}. Should be ISO8601."
        form["timestamp"].error("DATE_TIME_TYPE_PARSE", message)


def is_empty(embed: Json) -> bool:
    return not any(
        embed.get(part)
        for part in ("title", "description", "fields", "image", "thumbnail", "author", "footer")
    )
