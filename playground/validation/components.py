"""Message components: rows of buttons and selects, and the layouts of components V2."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from playground.world import Json

from .form import Form

ROW, BUTTON, STRING_SELECT, TEXT_INPUT = 1, 2, 3, 4
USER_SELECT, ROLE_SELECT, MENTIONABLE_SELECT, CHANNEL_SELECT = 5, 6, 7, 8
SECTION, TEXT_DISPLAY, THUMBNAIL, GALLERY, FILE, SEPARATOR = 9, 10, 11, 12, 13, 14
CONTAINER, LABEL, FILE_UPLOAD = 17, 18, 19
RADIO_GROUP, CHECKBOX_GROUP, CHECKBOX = 21, 22, 23

SELECTS = (STRING_SELECT, USER_SELECT, ROLE_SELECT, MENTIONABLE_SELECT, CHANNEL_SELECT)
IN_CONTAINER = (ROW, SECTION, TEXT_DISPLAY, GALLERY, FILE, SEPARATOR)
TOP_LEVEL_V2 = (*IN_CONTAINER, CONTAINER)

MAX_ROWS = 5
MAX_COMPONENTS_V2 = 40
MAX_TEXT_V2 = 4000
"""Characters of all text displays together."""

LINK, PREMIUM = 5, 6
"""Button styles that take no custom_id."""

EMOJI = re.compile(r"[^\x00-\x7f]|[0-9#*]\ufe0f?\u20e3")


def check_components(form: Form, body: Json, *, v2: bool) -> None:
    """`body["components"]` of a message, and what must be unique or bounded across all of it."""
    at_most = MAX_COMPONENTS_V2 if v2 else MAX_ROWS
    for place, component in form.items(body, "components", at_most=at_most):
        _check(place, component, TOP_LEVEL_V2 if v2 else (ROW,))
    everything = list(walk(body.get("components")))
    check_unique(form["components"], everything)
    if v2:
        if len(everything) > MAX_COMPONENTS_V2:
            form["components"].error(
                "COMPONENT_MAX_TOTAL_COMPONENTS_EXCEEDED",
                f"The total number of components cannot exceed {MAX_COMPONENTS_V2}",
            )
        texts = (c.get("content") for c in everything if c.get("type") == TEXT_DISPLAY)
        if sum(len(t) for t in texts if isinstance(t, str)) > MAX_TEXT_V2:
            form["components"].error(
                "COMPONENT_DISPLAYABLE_TEXT_SIZE_EXCEEDED",
                f"The total displayable text size cannot exceed {MAX_TEXT_V2}",
            )


def walk(components: object) -> Iterator[Json]:
    """Every component of a message, however deep it lies."""
    for component in components if isinstance(components, list) else ():
        if not isinstance(component, dict):
            continue
        yield component
        yield from walk(component.get("components"))
        for inner in ("accessory", "component"):
            if isinstance(component.get(inner), dict):
                yield from walk([component[inner]])


def check_unique(form: Form, components: list[Json]) -> None:
    seen: set[str] = set()
    ids: set[int] = set()
    for component in components:
        custom_id, number = component.get("custom_id"), component.get("id")
        if isinstance(custom_id, str):
            if custom_id in seen:
                message = f"Component custom id cannot be duplicated: {custom_id}"
                form.error("COMPONENT_CUSTOM_ID_DUPLICATED", message)
            seen.add(custom_id)
        if isinstance(number, int) and number:
            if number in ids:
                message = f"Component id cannot be duplicated: {number}"
                form.error("COMPONENT_ID_DUPLICATED", message)
            ids.add(number)


def number_components(components: list[Json]) -> list[Json]:
    """Discord gives every component without one an `id`, counted from 1 through the message."""
    numbered = [_copy(component) for component in components]
    everything = list(walk(numbered))
    taken = {c["id"] for c in everything if c.get("id")}
    free = (n for n in range(1, 10_000) if n not in taken)
    for component in everything:
        if not component.get("id"):
            component["id"] = next(free)
    return numbered


def _copy(component: Json) -> Json:
    copied = dict(component)
    if isinstance(copied.get("components"), list):
        copied["components"] = [_copy(c) for c in copied["components"]]
    for inner in ("accessory", "component"):
        if isinstance(copied.get(inner), dict):
            copied[inner] = _copy(copied[inner])
    return copied


def _check(form: Form, component: Json, allowed: tuple[int, ...]) -> None:
    kind = component.get("type")
    if kind not in allowed:
        among = ", ".join(str(k) for k in allowed)
        message = f'Value of field "type" must be one of ({among},).'
        form["type"].error("UNION_TYPE_CHOICES", message)
        return
    form.number(component, "id", 0, 2**31 - 1)
    CHECKS[kind](form, component)


def _check_row(form: Form, row: Json) -> None:
    children = [
        (p, c) for p, c in form.items(row, "components", at_most=5, at_least=1, required=True)
    ]
    for place, child in children:
        _check(place, child, (BUTTON, *SELECTS))
    selects = [c for _, c in children if c.get("type") in SELECTS]
    if selects and len(children) > 1:
        form["components"].error(
            "COMPONENT_LAYOUT_WIDTH_EXCEEDED",
            "The specified component exceeds the maximum width",
        )


def _check_button(form: Form, button: Json) -> None:
    style = form.choice(button, "style", range(1, 7))
    label = form.text(button, "label", at_most=80)
    emoji = form.inner(button, "emoji")
    if emoji is not None:
        check_emoji(form["emoji"], emoji)
    if style == LINK:
        form.url(button, "url", required=True, schemes=("http", "https", "discord"), at_most=512)
    elif style != PREMIUM:
        form.text(button, "custom_id", at_least=1, at_most=100, required=True)
    if style in (LINK, PREMIUM) and button.get("custom_id") is not None:
        message = "A custom id and url cannot both be specified"
        form["custom_id"].error("BUTTON_COMPONENT_CUSTOM_ID_AND_URL", message)
    if style != PREMIUM and not label and not emoji:
        message = "A label or an emoji is required"
        form.error("BUTTON_COMPONENT_LABEL_OR_EMOJI_REQUIRED", message)


def check_emoji(form: Form, emoji: Json) -> None:
    name = emoji.get("name")
    if emoji.get("id") is not None or not isinstance(name, str) or not is_emoji(name):
        form["name" if emoji.get("id") is None else "id"].error(
            "BUTTON_COMPONENT_INVALID_EMOJI", "Invalid emoji"
        )


def is_emoji(text: str) -> bool:
    """Near enough: no letters, and something outside ASCII (or a keycap)."""
    return len(text) <= 32 and not any(c.isalpha() for c in text) and bool(EMOJI.search(text))


def _check_select(form: Form, select: Json) -> None:
    form.text(select, "custom_id", at_least=1, at_most=100, required=True)
    form.text(select, "placeholder", at_most=150)
    _, high = check_range(form, select, 25)
    if select.get("type") == STRING_SELECT:
        count = check_choices(form, select, 25)
        if high > count > 0 and select.get("max_values") is not None:
            message = f"Must be less than or equal to the number of options ({count})"
            form["max_values"].error("SELECT_COMPONENT_MAX_VALUES_OPTIONS", message)
    elif select.get("options"):
        form["options"].error("BASE_TYPE_MAX_LENGTH", "Must be 0 or fewer in length.")


def check_range(form: Form, component: Json, at_most: int) -> tuple[int, int]:
    """min_values and max_values, 1 each when absent."""
    low = form.number(component, "min_values", 0, at_most)
    high = form.number(component, "max_values", 1, at_most)
    bounds = int(1 if low is None else low), int(1 if high is None else high)
    if bounds[0] > bounds[1]:
        message = "Minimum values must be less than or equal to maximum values"
        form["min_values"].error("SELECT_COMPONENT_MIN_MAX_VALUES", message)
    return bounds


def check_choices(form: Form, component: Json, at_most: int, at_least: int = 1) -> int:
    """The options of a select, a radio or a checkbox group; returns how many there are."""
    values: set[str] = set()
    count = 0
    for place, option in form.items(
        component, "options", at_most=at_most, at_least=at_least, required=True
    ):
        count += 1
        place.text(option, "label", at_least=1, at_most=100, required=True)
        value = place.text(option, "value", at_least=1, at_most=100, required=True)
        place.text(option, "description", at_most=100)
        if (emoji := place.inner(option, "emoji")) is not None:
            check_emoji(place["emoji"], emoji)
        if value in values:
            message = "The specified option value is already used"
            place["value"].error("SELECT_COMPONENT_OPTION_VALUE_DUPLICATED", message)
        values.add(value)
    return count


def _check_section(form: Form, section: Json) -> None:
    for place, child in form.items(section, "components", at_least=1, at_most=3, required=True):
        _check(place, child, (TEXT_DISPLAY,))
    if (accessory := form.inner(section, "accessory", required=True)) is not None:
        _check(form["accessory"], accessory, (BUTTON, THUMBNAIL))


def _check_text(form: Form, text: Json) -> None:
    form.text(text, "content", at_least=1, at_most=MAX_TEXT_V2, required=True)


def _check_media(form: Form, holder: Json, key: str, *, only_attachment: bool = False) -> None:
    if (media := form.inner(holder, key, required=True)) is not None:
        schemes = ("attachment",) if only_attachment else ("http", "https", "attachment")
        form[key].url(media, "url", required=True, schemes=schemes)
    form.text(holder, "description", at_most=1024)
    form.flag(holder, "spoiler")


def _check_thumbnail(form: Form, thumbnail: Json) -> None:
    _check_media(form, thumbnail, "media")


def _check_gallery(form: Form, gallery: Json) -> None:
    for place, item in form.items(gallery, "items", at_least=1, at_most=10, required=True):
        _check_media(place, item, "media")


def _check_file(form: Form, file: Json) -> None:
    _check_media(form, file, "file", only_attachment=True)


def _check_separator(form: Form, separator: Json) -> None:
    form.flag(separator, "divider")
    form.choice(separator, "spacing", (1, 2), required=False)


def _check_container(form: Form, container: Json) -> None:
    form.number(container, "accent_color", 0, 0xFFFFFF)
    for place, child in form.items(container, "components", at_least=1, at_most=40, required=True):
        _check(place, child, IN_CONTAINER)


CHECKS: dict[int, Callable[[Form, Json], None]] = {
    ROW: _check_row,
    BUTTON: _check_button,
    **dict.fromkeys(SELECTS, _check_select),
    SECTION: _check_section,
    TEXT_DISPLAY: _check_text,
    THUMBNAIL: _check_thumbnail,
    GALLERY: _check_gallery,
    FILE: _check_file,
    SEPARATOR: _check_separator,
    CONTAINER: _check_container,
}
