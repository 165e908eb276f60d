"""Who may do what: every cell of the table, spelt out apart from the code's own."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import discord
import pytest

from bot.access.caller import Caller, Person, Place
from bot.access.permissions import (
    NOWHERE,
    RULES,
    Rights,
    allows,
    check,
    check_models,
    check_permissions,
    check_place,
    check_remains,
    kept_from,
    may_see,
    may_use,
)
from bot.features.actions.handlers import HANDLERS
from bot.features.settings.panel import SETTINGS
from bot.locales import Texts
from bot.requests.actions import ACTIONS
from generation.job import Job, JobState, PresetUse
from generation.preset import Preset
from generation.refusal import Refused
from storage.settings import ElsewhereSettings, GuildSettings, PersonSettings
from tests.fixtures.requests import a_request, an_origin

OWNER, OTHER = 1, 2
GUILD, OTHER_GUILD = 10, 11
HERE, ELSEWHERE, DIRECT = 100, 101, 102
PAINTERS = 1000

REFUSALS: Final = {
    ".": None,
    "u": "job_number_unknown",
    "o": "asker_only",
    "m": "not_yours",
    "p": "press_not_yours",
    "s": "manager_only",
    "a": "moderator_only",
    "b": "owner_only",
    "r": "preset_for_roles",
    "e": "preset_elsewhere",
}
"""What a letter of the tables stands for; a dot is allowed."""

PEOPLE: Final = (
    "owner",
    "owner in a direct message",
    "other member",
    "moderator of this channel",
    "moderator of another channel",
    "manager of the server",
    "owner of the bot",
    "member of another server",
    "in a direct message",
)
"""The columns, in this order."""

ABOUT_REQUESTS: Final = """
                                                          owner
                                                          | in a direct message
                                                          | | other member
                                                          | | | moderator of this channel
                                                          | | | | moderator of another channel
                                                          | | | | | manager of the server
                                                          | | | | | | owner of the bot
                                                          | | | | | | | member of another server
                                                          | | | | | | | | in a direct message
reroll upscale faces cutout hires hd vary_subtle vary_strong start edit public  . . . . . . . u u
reroll upscale faces cutout hires hd vary_subtle vary_strong start edit private . . u u u u u u u
reroll upscale faces cutout hires hd vary_subtle vary_strong start edit role    r e r r r r r u u
pan_left pan_right pan_up pan_down zoom_out       public  . . . . . . . u u
zoom_out_more extend redraw add_control           public  . . . . . . . u u
pan_left pan_right pan_up pan_down zoom_out       private . . u u u u u u u
zoom_out_more extend redraw add_control           private . . u u u u u u u
pan_left pan_right pan_up pan_down zoom_out       role    r e r r r r r u u
zoom_out_more extend redraw add_control           role    r e r r r r r u u
/replay /upscale-job /blend-job                   public  . . . . . . . u u
/replay /upscale-job /blend-job                   private . . u u u u u u u
/replay /upscale-job /blend-job                   role    r e r r r r r u u
pick describe imagine_this show_control           public  . . . . . . . u u
pick describe imagine_this show_control           private . . u u u u u u u
pick describe imagine_this show_control           role    . . . . . . . u u
edit_words /edit-job                              public  . . . . . . . u u
edit_words /edit-job                              private . . u u u u u u u
edit_words /edit-job                              role    . . . . . . . u u
parameters favourite more                         public  . . . . . . . u u
parameters favourite more                         private . . u u u u u u u
parameters favourite more                         role    . . . . . . . u u
delete cancel /cancel-job                         public  . . m . m m m u u
delete cancel /cancel-job                         private . . u u u u u u u
delete cancel /cancel-job                         role    . . m . m m m u u
replay                                            public  . . o o o o o u u
retry                                             public  . . o o o o o u u
replay                                            private . . u u u u u u u
retry                                             private . . u u u u u u u
replay                                            role    r e o o o o o u u
retry                                             role    r e o o o o o u u
send forget /history-entry                        public  . . o o o o o u u
send forget /history-entry                        private . . u u u u u u u
send forget /history-entry                        role    . . o o o o o u u
/history-tree /preset-create-job                  public  . . . . . . . u u
/history-tree /preset-create-job                  private . . u u u u u u u
/history-tree /preset-create-job                  role    . . . . . . . u u
/mypreset-create-job                              public  . . . . . . . u u
/mypreset-create-job                              private . . u u u u u u u
/mypreset-create-job                              role    r e r r r r r u u
"""

ABOUT_NO_REQUEST: Final = """
/imagine /grid /queue /cancel /history /models /loras           . . . . . . . . .
control-picture image-prompt /blend /control /settings /settings-person   . . . . . . . . .
/preset-list /preset-show /preset-export /help /describe  . . . . . . . . .
/mypreset-list /mypreset-create /mypreset-edit            . . . . . . . . .
/mypreset-delete /mypreset-default /mypreset-import       . . . . . . . . .
/mypreset-show /mypreset-export                           . . . . . . . . .
/mydata-export /mydata-delete /info /info-draw /upscale   . . . . . . . . .
/preset-create /preset-edit /preset-delete                s s s s s . s s s
/preset-default /preset-import /settings-guild            s s s s s . s s s
/moderate-show /moderate-block /moderate-unblock          s s s s s . s s s
/moderate-reset_quota                                     s s s s s . s s s
approval                                                  a a a . . . a a a
/edit edit-picture                                        . . . . . . . . .
/stats                                                    b b b b b b . b b
/pause                                                    b b b b b b . b b
/resume                                                   b b b b b b . b b
"""

ONLY_OWNERS_PRESS: Final = """
reroll upscale faces cutout hires hd vary_subtle vary_strong start edit public  . . p . p p p u u
reroll upscale faces cutout hires hd vary_subtle vary_strong start edit private . . u u u u u u u
pan_left pan_right pan_up pan_down zoom_out       public  . . p . p p p u u
zoom_out_more extend redraw add_control           public  . . p . p p p u u
pan_left pan_right pan_up pan_down zoom_out       private . . u u u u u u u
zoom_out_more extend redraw add_control           private . . u u u u u u u
/replay /upscale-job pick describe imagine_this show_control   public  . . p . p p p u u
/replay /upscale-job pick describe imagine_this show_control   private . . u u u u u u u
edit_words /edit-job                              public  . . p . p p p u u
edit_words /edit-job                              private . . u u u u u u u
parameters favourite more /history-tree           public  . . . . . . . u u
delete cancel /cancel-job                         public  . . m . m m m u u
"""
"""Where a server wants only owners to press."""

ROLE: Final = Preset(name="oils", roles=(PAINTERS,))


def a_job(kind: str) -> Job:
    return Job(
        id=7,
        state=JobState.FINISHED,
        request=a_request(),
        origin=an_origin(OWNER, guild_id=GUILD, channel_id=HERE, private=kind == "private"),
        preset=PresetUse("oils", 1) if kind == "role" else None,
        created_at=datetime.now(UTC),
    )


def a_caller(
    who: str, settings: GuildSettings | None = None, roles: tuple[int, ...] = ()
) -> Caller:
    place = Place(guild_id=GUILD, channel_id=HERE)
    if who == "moderator of another channel":
        place = Place(guild_id=GUILD, channel_id=ELSEWHERE)
    if who == "member of another server":
        place = Place(guild_id=OTHER_GUILD, channel_id=ELSEWHERE)
    if "direct message" in who:
        place = Place(channel_id=DIRECT)
    person = Person(
        OWNER if who in ("owner", "owner in a direct message") else OTHER,
        "somebody",
        moderator=who.startswith("moderator"),
        manager=who.startswith("manager"),
        bot_owner=who == "owner of the bot",
        roles=roles,
    )
    return Caller(person, place, settings or GuildSettings(), PersonSettings())


def rights(who: str) -> Rights:
    """What they may do in the channel of the request."""
    if who in ("member of another server", "in a direct message", "owner in a direct message"):
        return NOWHERE
    return Rights(reads=True, moderates=who == "moderator of this channel")


def cells(table: str) -> Iterator[tuple[str, str, str, str | None]]:
    """(act, kind of request, person, refusal)."""
    lines = [line.split() for line in table.splitlines() if line.strip(" |")]
    for words in lines:
        verdicts = words[-len(PEOPLE) :]
        if not all(word in REFUSALS for word in verdicts):
            continue  # the head
        acts = words[: -len(PEOPLE)]
        kind = acts.pop() if acts[-1] in ("public", "private", "role") else ""
        for act, (who, verdict) in itertools.product(acts, zip(PEOPLE, verdicts, strict=True)):
            # the tables have a dash where names have a space
            yield act.replace("-", " "), kind, who, REFUSALS[verdict]


def verdict(act: str, kind: str, who: str, settings: GuildSettings | None = None) -> str | None:
    preset = ROLE if kind == "role" else None
    job = a_job(kind) if kind else None
    try:
        check(act, a_caller(who, settings), job, rights(who), preset)
    except Refused as refused:
        return refused.code
    return None


@pytest.mark.parametrize("table", [ABOUT_REQUESTS, ABOUT_NO_REQUEST])
def test_every_cell(table: str) -> None:
    found = {cell: verdict(*cell[:3]) for cell in cells(table)}
    assert {cell: said for cell, said in found.items() if said != cell[3]} == {}


def test_every_cell_where_only_owners_press() -> None:
    settings = GuildSettings(press="owner")
    found = {cell: verdict(*cell[:3], settings) for cell in cells(ONLY_OWNERS_PRESS)}
    assert {cell: said for cell, said in found.items() if said != cell[3]} == {}


def test_the_tables_have_every_act_for_every_kind_of_request() -> None:
    kinds: dict[str, set[str]] = {}
    for act, kind, _, _ in cells(ABOUT_REQUESTS + ABOUT_NO_REQUEST):
        kinds.setdefault(act, set()).add(kind)
    assert set(kinds) == set(RULES)
    assert all(found in ({""}, {"public", "private", "role"}) for found in kinds.values())


def test_every_action_and_setting_has_a_rule() -> None:
    assert {*ACTIONS, *HANDLERS} <= set(RULES)
    assert {f"/settings {setting.scope}" for setting in SETTINGS.values()} <= set(RULES)


def test_a_rule_about_requests_wants_one() -> None:
    with pytest.raises(ValueError, match="about a request"):
        check("reroll", a_caller("owner"))


@pytest.mark.parametrize("act", ["reroll", "edit", "/replay", "replay", "retry"])
def test_whoever_has_the_role_draws_with_its_preset(act: str) -> None:
    caller = a_caller("owner", roles=(PAINTERS,))
    check(act, caller, a_job("role"), rights("owner"), ROLE)


def test_what_is_published_is_read_though_it_was_private() -> None:
    """A message for all to see of a private request, which only its owner can have posted."""
    there = Rights(reads=True, published=True)
    assert allows("parameters", a_caller("other member"), a_job("private"), there)
    assert not allows("delete", a_caller("other member"), a_job("private"), there)
    there = Rights(reads=True, moderates=True, published=True)
    assert allows("delete", a_caller("moderator of this channel"), a_job("private"), there)


def test_moderating_without_reading_is_nothing() -> None:
    there = Rights(reads=False, moderates=True)
    assert not allows("cancel", a_caller("moderator of this channel"), a_job("public"), there)


@pytest.mark.parametrize(
    "act",
    [
        "/imagine",
        "control picture",
        "image prompt",
        "reroll",
        "edit",
        "start",
        "retry",
        "/replay",
        "replay",
        "send",
    ],
)
def test_where_pictures_may_be_asked_for(act: str) -> None:
    job = None if act in ("/imagine", "control picture", "image prompt") else a_job("public")
    elsewhere = GuildSettings(channels=(ELSEWHERE,))
    with pytest.raises(Refused, match="channel_not_allowed"):
        check(act, a_caller("owner", elsewhere), job, rights("owner"))
    closed = ElsewhereSettings(enabled=False)
    with pytest.raises(Refused, match="servers_only"):
        check(act, a_caller("owner in a direct message", closed), job)


@pytest.mark.parametrize(
    "act",
    ["/imagine", "control picture", "image prompt", "reroll", "edit", "retry", "/replay", "send"],
)
def test_who_is_blocked_asks_for_nothing(act: str) -> None:
    job = None if act in ("/imagine", "control picture", "image prompt") else a_job("public")
    with pytest.raises(Refused, match="person_blocked"):
        check(act, a_caller("owner", GuildSettings(blocked=(OWNER,))), job, rights("owner"))
    check(act, a_caller("owner", GuildSettings(blocked=(OTHER,))), job, rights("owner"))


@pytest.mark.parametrize("act", ["parameters", "delete", "cancel", "forget", "favourite"])
def test_who_is_blocked_does_what_they_like_with_what_is_theirs(act: str) -> None:
    blocked = GuildSettings(blocked=(OWNER,))
    check(act, a_caller("owner", blocked), a_job("public"), rights("owner"))


KEPT: Final = GuildSettings(reserved={PAINTERS: ("Demo", "oils"), 1001: ("oils",)})


@pytest.mark.parametrize(
    ("changes", "roles", "name"),
    [
        ({"model": "demo"}, (), "demo"),
        ({"model": "demo"}, (1001,), "demo"),
        ({"model": "demo"}, (PAINTERS,), None),
        ({"model": "other", "refiner": "DEMO"}, (), "DEMO"),
        ({"model": "other", "loras": [{"name": "oils"}]}, (), "oils"),
        ({"model": "other", "loras": [{"name": "oils"}]}, (1001,), None),
        ({"model": "other", "loras": [{"name": "ink"}]}, (), None),
    ],
)
def test_what_is_kept_for_roles(
    changes: dict[str, object], roles: tuple[int, ...], name: str | None
) -> None:
    caller = a_caller("owner", KEPT, roles)
    request = a_request(**changes)
    if name is None:
        check_models(caller, request)
        return
    with pytest.raises(Refused, match="model_for_roles") as refused:
        check_models(caller, request)
    assert refused.value.params["name"] == name
    assert f"<@&{PAINTERS}>" in str(refused.value.params["roles"])


def test_an_upscaler_alone_draws_with_no_model_that_is_kept() -> None:
    enlargement = {
        "picture": "0" * 64,
        "upscaler": "Lanczos",
        "width": 128,
        "height": 128,
        "from_width": 64,
        "from_height": 64,
    }
    request = a_request(model="demo", enlargement=enlargement)
    check_models(a_caller("owner", KEPT), request)
    second = a_request(model="demo", enlargement={**enlargement, "denoising_strength": 0.3})
    with pytest.raises(Refused, match="model_for_roles"):
        check_models(a_caller("owner", KEPT), second)


def test_what_is_kept_from_somebody_is_not_offered() -> None:
    assert kept_from(a_caller("owner", KEPT)) == {"demo", "oils"}
    assert kept_from(a_caller("owner", KEPT, (1001,))) == {"demo"}
    assert kept_from(a_caller("owner", KEPT, (PAINTERS,))) == set()


@pytest.mark.parametrize("act", ["parameters", "favourite", "delete", "cancel", "forget", "pick"])
def test_what_asks_for_no_picture_is_done_anywhere(act: str) -> None:
    closed = ElsewhereSettings(enabled=False)
    check(act, a_caller("owner in a direct message", closed), a_job("public"))
    elsewhere = GuildSettings(channels=(ELSEWHERE,), age_restricted=True)
    check(act, a_caller("owner", elsewhere), a_job("public"), rights("owner"))


def test_a_thread_is_of_its_channel() -> None:
    settings = GuildSettings(channels=(HERE,))
    check_place(settings, Place(guild_id=GUILD, channel_id=5, parent_id=HERE))
    with pytest.raises(Refused):
        check_place(settings, Place(guild_id=GUILD, channel_id=5, parent_id=ELSEWHERE))
    with pytest.raises(Refused, match="age_restricted_only"):
        check_place(GuildSettings(age_restricted=True), Place(guild_id=GUILD, channel_id=5))


@pytest.mark.parametrize(
    ("who", "asked_by", "may"),
    [
        ("owner", OWNER, True),
        ("other member", OWNER, False),
        ("other member", None, False),
        ("moderator of this channel", OWNER, True),
        ("moderator of this channel", None, True),
        ("manager of the server", OWNER, False),
        ("owner of the bot", OWNER, False),
        ("owner in a direct message", None, True),
    ],
)
def test_what_is_left_of_a_deleted_request(who: str, asked_by: int | None, may: bool) -> None:
    try:
        check_remains(a_caller(who), asked_by)
    except Refused:
        assert not may
    else:
        assert may


def test_presets_for_roles_are_used_by_those_and_seen_by_managers_too() -> None:
    member, manager = a_caller("other member"), a_caller("manager of the server")
    painter = a_caller("other member", roles=(PAINTERS, 5))
    assert [may_use(ROLE, who) for who in (member, manager, painter)] == [False, False, True]
    assert [may_see(ROLE, who) for who in (member, manager, painter)] == [False, True, True]
    assert may_use(Preset(name="all"), member)


def test_the_bot_names_the_permissions_that_it_lacks() -> None:
    every = frozenset(discord.Permissions.VALID_FLAGS)
    check_permissions(every - {"administrator"}, Texts("en-US"))
    check_permissions({"administrator"}, Texts("en-US"))
    for name in ("attach_files", "embed_links", "add_reactions", "view_channel", "send_messages"):
        with pytest.raises(Refused) as refused:
            check_permissions(every - {name, "administrator"}, Texts("en-US"))
        assert refused.value.params["names"] == Texts("en-US")(f"permission_{name}")
    check_permissions(every - {"send_messages", "administrator"}, Texts("en-US"), thread=True)
