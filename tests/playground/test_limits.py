"""Everything that Discord refuses as an invalid form, one wrong thing at a time."""

from __future__ import annotations

from typing import Any

import pytest

from playground.control import Control, Person

from .conftest import Rest

Json = dict[str, Any]


def errors_of(body: Json) -> list[tuple[str, str]]:
    """(path, code) of each error in the nested answer."""
    found: list[tuple[str, str]] = []

    def walk(place: Json, path: str) -> None:
        for key, value in place.items():
            if key == "_errors":
                found.extend((path, error["code"]) for error in value)
            else:
                walk(value, f"{path}.{key}".lstrip("."))

    walk(body["errors"], "")
    return found


def button(**more: Any) -> Json:
    return {"type": 2, "style": 1, "label": "x", "custom_id": "x"} | more


def row(*components: Json) -> Json:
    return {"type": 1, "components": list(components)}


def buttons(count: int, start: int = 0) -> Json:
    return row(*(button(custom_id=str(start + n)) for n in range(count)))


def select(**more: Any) -> Json:
    options = [{"label": str(n), "value": str(n)} for n in range(3)]
    return {"type": 3, "custom_id": "s", "options": options} | more


def embed(**parts: Any) -> Json:
    return {"embeds": [parts]}


V2 = 1 << 15
TEXT = {"type": 10, "content": "x"}

WRONG_MESSAGES: list[tuple[Json, str, str]] = [
    ({"content": "x" * 2001}, "content", "BASE_TYPE_MAX_LENGTH"),
    ({"content": 5}, "content", "STRING_TYPE_CONVERT"),
    ({"content": "x", "nonce": "n" * 26}, "nonce", "NONCE_TYPE_TOO_LONG"),
    ({"content": "x", "flags": "many"}, "flags", "NUMBER_TYPE_COERCE"),
    ({"embeds": [{"title": "x"}] * 11}, "embeds", "BASE_TYPE_MAX_LENGTH"),
    (embed(title="x" * 257), "embeds.0.title", "BASE_TYPE_MAX_LENGTH"),
    (embed(description="x" * 4097), "embeds.0.description", "BASE_TYPE_MAX_LENGTH"),
    (embed(title="x", color=1 << 24), "embeds.0.color", "NUMBER_TYPE_MAX"),
    (embed(title="x", url="ftp://x/y"), "embeds.0.url", "URL_TYPE_INVALID_SCHEME"),
    (embed(title="x", timestamp="today"), "embeds.0.timestamp", "DATE_TIME_TYPE_PARSE"),
    (embed(footer={"text": "x" * 2049}), "embeds.0.footer.text", "BASE_TYPE_MAX_LENGTH"),
    (embed(author={"name": "x" * 257}), "embeds.0.author.name", "BASE_TYPE_MAX_LENGTH"),
    (embed(image={"url": "no link"}), "embeds.0.image.url", "URL_TYPE_INVALID_SCHEME"),
    (embed(fields=[{"name": "n", "value": "v"}] * 26), "embeds.0.fields", "BASE_TYPE_MAX_LENGTH"),
    (
        embed(fields=[{"name": "n" * 257, "value": "v"}]),
        "embeds.0.fields.0.name",
        "BASE_TYPE_BAD_LENGTH",
    ),
    (
        embed(fields=[{"name": "n", "value": "v" * 1025}]),
        "embeds.0.fields.0.value",
        "BASE_TYPE_BAD_LENGTH",
    ),
    (embed(fields=[{"name": "n"}]), "embeds.0.fields.0.value", "BASE_TYPE_REQUIRED"),
    (
        {"embeds": [{"description": "x" * 4000}, {"description": "x" * 2001}]},
        "embeds",
        "MAX_EMBED_SIZE_EXCEEDED",
    ),
    ({"components": [buttons(1, n) for n in range(6)]}, "components", "BASE_TYPE_MAX_LENGTH"),
    ({"components": [buttons(6)]}, "components.0.components", "BASE_TYPE_BAD_LENGTH"),
    ({"components": [row()]}, "components.0.components", "BASE_TYPE_BAD_LENGTH"),
    (
        {"components": [row(button(custom_id="x" * 101))]},
        "components.0.components.0.custom_id",
        "BASE_TYPE_BAD_LENGTH",
    ),
    (
        {"components": [row(button(label="x" * 81))]},
        "components.0.components.0.label",
        "BASE_TYPE_MAX_LENGTH",
    ),
    (
        {"components": [row(button(), button())]},
        "components",
        "COMPONENT_CUSTOM_ID_DUPLICATED",
    ),
    (
        {"components": [row({"type": 2, "style": 1, "custom_id": "x"})]},
        "components.0.components.0",
        "BUTTON_COMPONENT_LABEL_OR_EMOJI_REQUIRED",
    ),
    (
        {"components": [row({"type": 2, "style": 5, "label": "x"})]},
        "components.0.components.0.url",
        "BASE_TYPE_REQUIRED",
    ),
    (
        {"components": [row(button(emoji={"name": "smile"}))]},
        "components.0.components.0.emoji.name",
        "BUTTON_COMPONENT_INVALID_EMOJI",
    ),
    (
        {"components": [row(select(), button())]},
        "components.0.components",
        "COMPONENT_LAYOUT_WIDTH_EXCEEDED",
    ),
    (
        {"components": [row(select(options=[]))]},
        "components.0.components.0.options",
        "BASE_TYPE_BAD_LENGTH",
    ),
    (
        {"components": [row(select(options=[{"label": "x", "value": "x"}] * 2))]},
        "components.0.components.0.options.1.value",
        "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED",
    ),
    (
        {"components": [row(select(max_values=4))]},
        "components.0.components.0.max_values",
        "SELECT_COMPONENT_MAX_VALUES_OPTIONS",
    ),
    ({"components": [button()]}, "components.0.type", "UNION_TYPE_CHOICES"),
    ({"components": [TEXT]}, "components.0.type", "UNION_TYPE_CHOICES"),
    (
        {"flags": V2, "content": "x", "components": [TEXT]},
        "content",
        "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2",
    ),
    (
        {"flags": V2, "components": [{"type": 17, "components": [TEXT] * 40}]},
        "components",
        "COMPONENT_MAX_TOTAL_COMPONENTS_EXCEEDED",
    ),
    (
        {"flags": V2, "components": [{"type": 10, "content": "x" * 2001}] * 2},
        "components",
        "COMPONENT_DISPLAYABLE_TEXT_SIZE_EXCEEDED",
    ),
    (
        {"content": "x", "attachments": [{"id": 3, "filename": "x"}]},
        "attachments.0.id",
        "ATTACHMENT_NOT_FOUND",
    ),
    (
        {"content": "x", "allowed_mentions": {"parse": ["all"]}},
        "allowed_mentions.parse.0",
        "BASE_TYPE_CHOICES",
    ),
]


@pytest.mark.parametrize(("body", "path", "code"), WRONG_MESSAGES, ids=lambda v: str(v)[:40])
async def test_wrong_messages(rest: Rest, general: str, body: Json, path: str, code: str) -> None:
    answer = await rest.call("POST", f"/channels/{general}/messages", body)
    assert (answer.status, answer.code) == (400, 50035)
    assert answer.body["message"] == "Invalid Form Body"
    assert (path, code) in errors_of(answer.body)


RIGHT_MESSAGES: list[Json] = [
    {"content": "x" * 2000, "nonce": "n" * 25},
    {"embeds": [{"description": "x" * 4000}, {"description": "x" * 2000}]},
    {"content": "x", "components": [buttons(5, n * 5) for n in range(5)]},
    {"content": "x", "components": [row(button(custom_id="x" * 100, label="y" * 80))]},
    {"content": "x", "components": [row(select(max_values=3))]},
    {"content": "x", "components": [row(button(emoji={"name": "🔁"}, label=None))]},
    {"flags": V2, "components": [{"type": 17, "components": [TEXT] * 39}]},
    {"content": None, "embeds": [{"title": "x", "color": 0xFFFFFF}]},
]


@pytest.mark.parametrize("body", RIGHT_MESSAGES, ids=lambda v: str(v)[:40])
async def test_right_messages(rest: Rest, general: str, body: Json) -> None:
    answer = await rest.call("POST", f"/channels/{general}/messages", body)
    assert answer.status == 200, answer.body


@pytest.mark.parametrize("body", [{}, {"content": ""}, {"content": " \n"}, {"embeds": [{}]}])
async def test_an_empty_message(rest: Rest, general: str, ada: Person, body: Json) -> None:
    answer = await rest.call("POST", f"/channels/{general}/messages", body)
    assert (answer.status, answer.code) == (400, 50006)


async def test_more_than_ten_files(rest: Rest, general: str) -> None:
    path = f"/channels/{general}/messages"
    files = [(f"{n}.txt", b"x") for n in range(11)]
    assert (await rest.call("POST", path, {}, files=files)).code == 50035
    assert (await rest.call("POST", path, {}, files=files[:10])).status == 200


async def test_an_edit_is_checked_too(rest: Rest, general: str) -> None:
    path = f"/channels/{general}/messages"
    made = (await rest.call("POST", path, {"content": "x"})).body
    wrong = await rest.call("PATCH", f"{path}/{made['id']}", {"content": "x" * 2001})
    assert wrong.code == 50035
    empty = await rest.call("PATCH", f"{path}/{made['id']}", {"content": ""})
    assert empty.code == 50006
    unchanged = (await rest.call("GET", f"{path}/{made['id']}")).body
    assert (unchanged["content"], unchanged["edited_timestamp"]) == ("x", None)


async def test_what_is_no_json(rest: Rest, general: str, control: Control) -> None:
    answer = await rest.call("POST", f"/channels/{general}/messages", ["a list"])
    assert answer.code == 50035


# -- commands -------------------------------------------------------------------------------


def command(**more: Any) -> Json:
    return {"name": "draw", "description": "x"} | more


def option(**more: Any) -> Json:
    return {"name": "prompt", "description": "x", "type": 3} | more


def choices(count: int) -> list[Json]:
    return [{"name": str(n), "value": str(n)} for n in range(count)]


WRONG_COMMANDS: list[tuple[Json, str, str]] = [
    (command(name="Draw"), "name", "APPLICATION_COMMAND_INVALID_NAME"),
    (command(name="two words"), "name", "APPLICATION_COMMAND_INVALID_NAME"),
    (command(name="x" * 33), "name", "BASE_TYPE_BAD_LENGTH"),
    (command(description=""), "description", "BASE_TYPE_BAD_LENGTH"),
    (command(description="x" * 101), "description", "BASE_TYPE_BAD_LENGTH"),
    ({"name": "draw"}, "description", "BASE_TYPE_REQUIRED"),
    (command(type=2), "description", "APPLICATION_COMMAND_INVALID_DESCRIPTION"),
    (
        command(options=[option(name=f"o{n}") for n in range(26)]),
        "options",
        "BASE_TYPE_MAX_LENGTH",
    ),
    (
        command(options=[option(), option()]),
        "options.1.name",
        "APPLICATION_COMMAND_OPTIONS_DUPLICATE_NAME",
    ),
    (
        command(options=[option(), option(name="b", required=True)]),
        "options.1",
        "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID",
    ),
    (command(options=[option(choices=choices(26))]), "options.0.choices", "BASE_TYPE_MAX_LENGTH"),
    (
        command(options=[option(choices=[{"name": "x" * 101, "value": "x"}])]),
        "options.0.choices.0.name",
        "BASE_TYPE_BAD_LENGTH",
    ),
    (
        command(options=[option(type=4, choices=[{"name": "x", "value": "x"}])]),
        "options.0.choices.0.value",
        "NUMBER_TYPE_COERCE",
    ),
    (
        command(options=[option(choices=choices(1), autocomplete=True)]),
        "options.0.autocomplete",
        "APPLICATION_COMMAND_OPTIONS_AUTOCOMPLETE_INVALID",
    ),
    (
        command(options=[option(type=5, autocomplete=True)]),
        "options.0",
        "APPLICATION_COMMAND_OPTIONS_CHOICES_INVALID",
    ),
    (
        command(options=[option(type=1, name="sub"), option()]),
        "options",
        "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID",
    ),
    (
        command(options=[option(type=1, name="a", options=[option(type=1, name="b")])]),
        "options.0.options.0.type",
        "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID",
    ),
    (
        command(name_localizations={"xx": "zeichne"}),
        "name_localizations.xx",
        "APPLICATION_COMMAND_INVALID_LOCALE",
    ),
    (command(contexts=[7]), "contexts.0", "BASE_TYPE_CHOICES"),
    (
        command(
            options=[
                option(
                    name=f"o{n}",
                    description="d" * 100,
                    choices=[
                        {"name": f"{m}" + "c" * 90, "value": f"{m}" + "v" * 90} for m in range(20)
                    ],
                )
                for n in range(3)
            ]
        ),
        "",
        "APPLICATION_COMMAND_TOO_LARGE",
    ),
]


@pytest.mark.parametrize(("body", "path", "code"), WRONG_COMMANDS, ids=lambda v: str(v)[:40])
async def test_wrong_commands(rest: Rest, body: Json, path: str, code: str) -> None:
    application = (await rest.call("GET", "/applications/@me")).body["id"]
    one = await rest.call("POST", f"/applications/{application}/commands", body)
    assert (one.status, one.code) == (400, 50035)
    assert (path, code) in errors_of(one.body)
    all_ = await rest.call(
        "PUT", f"/applications/{application}/commands", [command(name="ok"), body]
    )
    assert (f"1.{path}".rstrip("."), code) in errors_of(all_.body)


async def test_right_commands_keep_their_ids(rest: Rest, ada: Person, guild: str) -> None:
    application = (await rest.call("GET", "/applications/@me")).body["id"]
    path = f"/applications/{application}/commands"
    group = option(type=2, name="group", options=[option(type=1, name="sub", options=[option()])])
    first = [
        command(name="画画", options=[option(choices=choices(25), required=True)]),
        command(name="lib", options=[group]),
        {"name": "Quote this", "type": 3},
    ]
    made = (await rest.call("PUT", path, first)).body
    assert [c["type"] for c in made] == [1, 1, 3]
    again = (await rest.call("PUT", path, [command(name="new"), first[0]])).body
    assert again[1]["id"] == made[0]["id"]
    assert again[1]["version"] == made[0]["version"]
    assert {c["name"] for c in (await rest.call("GET", path)).body} == {"new", "画画"}
    changed = await rest.call("PATCH", f"{path}/{again[0]['id']}", {"description": "changed"})
    assert changed.body["description"] == "changed"
    assert (await rest.call("DELETE", f"{path}/{again[0]['id']}")).status == 204
    assert (await rest.call("GET", f"{path}/{again[0]['id']}")).code == 10063
    await ada.wait_for("COMMANDS_UPDATE")
    own = f"/applications/{application}/guilds/{guild}/commands"
    assert (await rest.call("POST", own, command(name="here"))).status == 201
    assert (await rest.call("POST", own, command(name="here", description="y"))).status == 200
    assert {c["name"] for c in (await ada.state())["commands"]} == {"here", "画画"}


async def test_counts_and_duplicates(rest: Rest) -> None:
    application = (await rest.call("GET", "/applications/@me")).body["id"]
    path = f"/applications/{application}/commands"
    many = [command(name=f"c{n}") for n in range(101)]
    assert (await rest.call("PUT", path, many)).code == 30032
    assert (await rest.call("PUT", path, many[:100])).status == 200
    menus = [{"name": f"m{n}", "type": 3} for n in range(16)]
    assert (await rest.call("PUT", path, menus)).code == 30032
    twice = await rest.call("PUT", path, [command(), command()])
    assert ("1.name", "APPLICATION_COMMANDS_DUPLICATE_NAME") in errors_of(twice.body)
    other = await rest.call("PUT", "/applications/1/commands", [])
    assert (other.status, other.code) == (404, 10002)


# -- modals ---------------------------------------------------------------------------------


def modal(*parts: Json, **more: Any) -> Json:
    return {"custom_id": "m", "title": "M", "components": list(parts)} | more


def field(**more: Any) -> Json:
    return {"type": 4, "custom_id": "t", "style": 1, "label": "T"} | more


def label(component: Json, **more: Any) -> Json:
    return {"type": 18, "label": "L", "component": component} | more


WRONG_MODALS: list[tuple[Json, str]] = [
    (modal(row(field()), title="x" * 46), "data.title"),
    (modal(row(field()), custom_id=""), "data.custom_id"),
    (modal(), "data.components"),
    (modal(*(row(field(custom_id=str(n))) for n in range(6))), "data.components"),
    (modal(row(field(label="x" * 46))), "data.components.0.components.0.label"),
    (modal(row(field(max_length=4001))), "data.components.0.components.0.max_length"),
    (modal(row(button())), "data.components.0.components.0.type"),
    (
        modal(label({"type": 19, "custom_id": "u", "max_values": 11})),
        "data.components.0.component.max_values",
    ),
    (
        modal(label({"type": 21, "custom_id": "r", "options": choices(1)})),
        "data.components.0.component.options",
    ),
    (modal(label(field(), label="x" * 46)), "data.components.0.label"),
]


@pytest.mark.parametrize(("body", "path"), WRONG_MODALS, ids=lambda v: str(v)[:40])
async def test_wrong_modals(rest: Rest, ada: Person, body: Json, path: str) -> None:
    application = (await rest.call("GET", "/applications/@me")).body["id"]
    await rest.call("PUT", f"/applications/{application}/commands", [command()])
    act = await ada.command("general", "draw")
    callback = f"/interactions/{act.id}/{act.token}/callback"
    answer = await rest.call("POST", callback, {"type": 9, "data": body})
    assert answer.code == 50035
    assert path in [place for place, _ in errors_of(answer.body)]
    right = modal(
        row(field()), label({"type": 3, "custom_id": "s", "options": select()["options"]})
    )
    assert (await rest.call("POST", callback, {"type": 9, "data": right})).status == 204
