"""A message's body: content, embeds, components, attachments, flags, nonce."""

from __future__ import annotations

from collections.abc import Sequence

from playground.errors import EmptyMessage
from playground.snowflake import is_snowflake
from playground.uploads import MAX_FILES, Upload
from playground.world import COMPONENTS_V2, EPHEMERAL, Json

from .components import check_components
from .embeds import check_embeds, is_empty
from .form import Form

MAX_CONTENT = 2000
SUPPRESS_EMBEDS, VOICE_MESSAGE, SUPPRESS_NOTIFICATIONS = 1 << 2, 1 << 13, 1 << 12
MAY_SET = SUPPRESS_EMBEDS | SUPPRESS_NOTIFICATIONS | VOICE_MESSAGE | COMPONENTS_V2 | EPHEMERAL
LEGACY = ("content", "embeds", "sticker_ids", "poll")
"""Fields that components V2 replace."""


def check_message(body: Json, uploads: list[Upload], *, v2: bool, form: Form | None = None) -> None:
    """Raise 50035 for a malformed create or edit; `v2`: the message has components V2."""
    form = form or Form()
    form.text(body, "content", at_most=MAX_CONTENT)
    check_embeds(form, body)
    check_components(form, body, v2=v2)
    _check_attachments(form, body, uploads)
    _check_allowed_mentions(form, body)
    form.number(body, "flags", 0, 2**53)
    form.flag(body, "tts")
    _check_nonce(form, body)
    _check_reference(form, body)
    if v2:
        for name in LEGACY:
            if body.get(name):
                form[name].error(
                    "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2",
                    f"The '{name}' field cannot be used when using MessageFlags.IS_COMPONENTS_V2",
                )
    form.done()


def flags_of(body: Json) -> int:
    """The request's flags; 0 for what `check_message` will refuse."""
    flags = body.get("flags")
    return flags if isinstance(flags, int) else 0


def check_shows(body: Json, files: Sequence[object]) -> None:
    """Raise 50006 for a message that would show nothing."""
    embeds = [e for e in body.get("embeds") or [] if not is_empty(e)]
    shows = (body.get("content") or "").strip() or embeds or files
    if not (shows or body.get("components") or body.get("sticker_ids") or body.get("poll")):
        raise EmptyMessage


def _check_attachments(form: Form, body: Json, uploads: list[Upload]) -> None:
    indexes = {str(upload.index) for upload in uploads}
    for place, attachment in form.items(body, "attachments", at_most=MAX_FILES):
        if not place.required(attachment, "id"):
            continue
        number = str(attachment["id"])
        if not is_snowflake(number):
            message = f'Value "{number}" is not snowflake.'
            place["id"].error("NUMBER_TYPE_COERCE", message)
        elif len(number) < 15 and number not in indexes:
            message = "Attachment data not found"
            place["id"].error("ATTACHMENT_NOT_FOUND", message)
        place.text(attachment, "filename", at_most=1024)
        place.text(attachment, "description", at_most=1024)
        place.text(attachment, "title", at_most=1024)
    if len(uploads) > MAX_FILES:
        form["files"].length(len(uploads), 0, MAX_FILES)


def _check_allowed_mentions(form: Form, body: Json) -> None:
    allowed = form.inner(body, "allowed_mentions")
    if allowed is None:
        return
    place = form["allowed_mentions"]
    place.values(allowed, "parse", ("users", "roles", "everyone"))
    for name in ("users", "roles"):
        place.ids(allowed, name)
    place.flag(allowed, "replied_user")
    if form.errors:
        return
    for name in ("users", "roles"):
        if allowed.get(name) and name in (allowed.get("parse") or []):
            message = f'parse:["{name}"] and {name}: [ids...] are mutually exclusive.'
            place.error("MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", message)


def _check_reference(form: Form, body: Json) -> None:
    reference = form.inner(body, "message_reference")
    if reference is not None:
        place = form["message_reference"]
        if place.required(reference, "message_id") and not is_snowflake(
            str(reference["message_id"])
        ):
            message = f'Value "{reference["message_id"]}" is not snowflake.'
            place["message_id"].error("NUMBER_TYPE_COERCE", message)
        place.flag(reference, "fail_if_not_exists")


def _check_nonce(form: Form, body: Json) -> None:
    nonce = body.get("nonce")
    if nonce is None:
        return
    if isinstance(nonce, bool) or not isinstance(nonce, str | int):
        form["nonce"].error("NONCE_TYPE_INVALID", "Must be an int or a string.")
    elif isinstance(nonce, str) and len(nonce) > 25:
        form["nonce"].error("NONCE_TYPE_TOO_LONG", "Must be 25 or fewer in length.")
