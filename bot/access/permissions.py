"""Who may do what: one table, and the one function that all callers ask. Pure; raises Refused."""

from collections.abc import Collection, Mapping
from typing import Final, Literal

import msgspec

from bot.access.caller import Caller, Place
from bot.locales import Texts
from generation import preset as presets
from generation.job import Job
from generation.name_search import fold
from generation.preset import Preset
from generation.refusal import Refused
from generation.request import GenerationRequest
from storage.settings import ElsewhereSettings, GuildSettings

Who = Literal["anybody", "reader", "presser", "moderator", "owner", "manager", "staff", "bot_owner"]
"""Of a request: whoever may read it; whoever may press its buttons, which a server can leave to its
owner and moderators; its owner and moderators; its owner alone. Of a server: those who manage it,
and those who moderate the channel where they press, too.
Nobody but its owner reads a private request: no moderator, no manager, not the bot's owner.
"""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """Who may do something, and what holds for it besides."""

    who: Who = "anybody"
    in_place: bool = False
    """Whether it is only done where pictures may be asked for."""
    with_preset: bool = False
    """Whether it draws with the request's preset, which may be for certain roles."""


ANYBODY: Final = Rule()
ASKS: Final = Rule(in_place=True)
DRAWS: Final = Rule(who="presser", in_place=True, with_preset=True)
EDITS: Final = Rule(who="presser", in_place=True)
"""A picture is changed by another model: nothing of the request but that is used."""
MANAGES: Final = Rule(who="manager")

RULES: Final[Mapping[str, Rule]] = {
    # actions on a request and its pictures: by button, reaction, context menu and modal
    "reroll": DRAWS,
    "upscale": DRAWS,
    "faces": DRAWS,
    "cutout": DRAWS,
    "hires": DRAWS,
    "hd": DRAWS,
    "vary_subtle": DRAWS,
    "vary_strong": DRAWS,
    "pan_left": DRAWS,
    "pan_right": DRAWS,
    "pan_up": DRAWS,
    "pan_down": DRAWS,
    "zoom_out": DRAWS,
    "zoom_out_more": DRAWS,
    "extend": DRAWS,
    "redraw": DRAWS,
    "start": DRAWS,
    "add_control": DRAWS,
    "edit": DRAWS,
    "describe": Rule(who="presser", in_place=True),
    "imagine_this": Rule(who="presser", in_place=True),
    "edit_words": EDITS,
    "pick": Rule(who="presser"),
    "more": Rule(who="reader"),
    "parameters": Rule(who="reader"),
    # it may show what somebody has handed in
    "show_control": Rule(who="presser"),
    "favourite": Rule(who="reader"),
    "delete": Rule(who="moderator"),
    "cancel": Rule(who="moderator"),
    "retry": Rule(who="owner", in_place=True, with_preset=True),
    "replay": Rule(who="owner", in_place=True, with_preset=True),
    "send": Rule(who="owner", in_place=True),
    "forget": Rule(who="owner"),
    # commands, with what concerns a request by its number as rows of their own
    "/imagine": ASKS,
    "/history": ANYBODY,
    "/history entry": Rule(who="owner"),
    "/history tree": Rule(who="reader"),
    "/replay": DRAWS,
    "/upscale": ASKS,
    "/grid": ASKS,
    "/upscale job": DRAWS,
    "/blend": ASKS,
    "/control": ASKS,
    "/blend job": DRAWS,
    "/describe": ASKS,
    "/edit": ASKS,
    "/edit job": EDITS,
    "/queue": ANYBODY,
    "/cancel": ANYBODY,
    "/cancel job": Rule(who="moderator"),
    "/preset list": ANYBODY,
    "/preset show": ANYBODY,
    "/preset export": ANYBODY,
    "/preset create": MANAGES,
    "/preset create job": Rule(who="reader"),
    "/preset edit": MANAGES,
    "/preset delete": MANAGES,
    "/preset default": MANAGES,
    "/preset import": MANAGES,
    "/mypreset list": ANYBODY,
    "/mypreset show": ANYBODY,
    "/mypreset export": ANYBODY,
    "/mypreset create": ANYBODY,
    "/mypreset create job": Rule(who="reader", with_preset=True),
    "/mypreset edit": ANYBODY,
    "/mypreset delete": ANYBODY,
    "/mypreset default": ANYBODY,
    "/mypreset import": ANYBODY,
    "/settings": ANYBODY,
    "/settings guild": MANAGES,
    "/settings person": ANYBODY,
    "/models": ANYBODY,
    "/loras": ANYBODY,
    "/info": ANYBODY,
    "/info draw": ASKS,
    "/mydata export": ANYBODY,
    "/mydata delete": ANYBODY,
    "/help": ANYBODY,
    "/moderate show": MANAGES,
    "/moderate block": MANAGES,
    "/moderate unblock": MANAGES,
    "/moderate reset_quota": MANAGES,
    "approval": Rule(who="staff"),
    "/stats": Rule(who="bot_owner"),
    "/pause": Rule(who="bot_owner"),
    "/resume": Rule(who="bot_owner"),
    "control picture": ASKS,
    "image prompt": ASKS,
    "edit picture": ASKS,
}
"""By the name of an action, or a command with a slash before it."""


class Rights(msgspec.Struct, frozen=True):
    """What somebody may do in the place that shows a request."""

    reads: bool = False
    moderates: bool = False
    published: bool = False
    """Whether it is a message for all to see that shows it, be the request private or not."""


NOWHERE: Final = Rights()


def check(
    act: str,
    caller: Caller,
    job: Job | None = None,
    there: Rights = NOWHERE,
    preset: Preset | None = None,
) -> None:
    """Refuse whoever may not do that here. A rule about a request needs the request, `there` as
    what the caller may do where it is shown, and `preset` as the one that it was made with.
    """
    rule = RULES[act]
    check_person(act, caller)
    if rule.who in ("reader", "presser", "moderator", "owner"):
        if job is None:
            raise ValueError(f"{act} is about a request")
        _check_request(rule.who, caller, job, there)
    if rule.in_place:
        check_asking(caller)
    if rule.with_preset and job is not None and preset is not None:
        check_preset_of(job, preset, caller)


def allows(act: str, caller: Caller, job: Job, there: Rights = NOWHERE) -> bool:
    """Whether somebody may do that with a request."""
    try:
        check(act, caller, job, there)
    except Refused:
        return False
    return True


def check_person(act: str, caller: Caller) -> None:
    """The part of a rule that is about the person alone."""
    who = RULES[act].who
    manager = caller.person.manager and caller.place.guild_id is not None
    if who == "manager" and not manager:
        raise Refused("manager_only")
    if who == "staff" and not (manager or caller.person.moderator):
        raise Refused("moderator_only")
    if who == "bot_owner" and not caller.person.bot_owner:
        raise Refused("owner_only")


def _check_request(who: Who, caller: Caller, job: Job, there: Rights) -> None:
    own = caller.person.id == job.origin.user_id
    reads = there.reads and (there.published or not job.origin.private)
    if own:
        return
    if not reads:
        # not even that there is one
        raise Refused("job_number_unknown", job=job.id)
    if who == "owner":
        raise Refused("asker_only")
    if who == "moderator" and not there.moderates:
        raise Refused("not_yours")
    if who == "presser" and caller.guild.press == "owner" and not there.moderates:
        raise Refused("press_not_yours")


def check_remains(caller: Caller, asked_by: int | None) -> None:
    """Refuse whoever may not delete a message whose request is gone; `asked_by` is who had asked,
    where that is still known.
    """
    in_person = caller.place.guild_id is None
    if caller.person.id != asked_by and not caller.person.moderator and not in_person:
        raise Refused("not_yours")


def check_preset_of(job: Job, preset: Preset, caller: Caller) -> None:
    """Refuse to draw with the preset of a request whoever has none of the roles that it is for.

    Elsewhere than on its server nobody knows their roles.
    """
    if preset.roles and caller.place.guild_id != job.origin.guild_id:
        raise Refused("preset_elsewhere", name=preset.name)
    presets.check_roles(preset, caller.person.roles)


def may_use(preset: Preset, caller: Caller) -> bool:
    """Whether somebody may draw with a preset of the server where they are."""
    return not preset.roles or bool(set(preset.roles) & set(caller.person.roles))


def may_see(preset: Preset, caller: Caller) -> bool:
    """Whether somebody may see what such a preset holds: managers write it."""
    return may_use(preset, caller) or caller.person.manager


def check_asking(caller: Caller) -> None:
    """Refuse whoever may ask for no pictures, here or on this server at all."""
    if caller.person.id in caller.guild.blocked:
        raise Refused("person_blocked")
    check_place(caller.guild, caller.place)


def check_models(caller: Caller, request: GenerationRequest) -> None:
    """Refuse checkpoints and LoRAs that the server keeps for roles which the caller hasn't."""
    if not caller.guild.reserved:
        return
    models = () if request.only_enlarges else (request.model, request.refiner or "")
    for name in (*models, *(use.name for use in request.loras)):
        roles = roles_for(name, caller.guild)
        if roles and not set(roles) & set(caller.person.roles):
            names = ", ".join(f"<@&{role}>" for role in roles[:5])
            raise Refused("model_for_roles", name=name, roles=names)


def kept_from(caller: Caller) -> frozenset[str]:
    """The checkpoints and LoRAs that are kept for roles which the caller hasn't, folded."""
    names = {fold(name) for names in caller.guild.reserved.values() for name in names}
    own = set(caller.person.roles)
    return frozenset(name for name in names if not own & set(roles_for(name, caller.guild)))


def roles_for(name: str, settings: GuildSettings) -> tuple[int, ...]:
    """The roles that a checkpoint or LoRA is kept for; none where everybody may draw with it."""
    wanted = fold(name)
    return tuple(
        role
        for role, names in settings.reserved.items()
        if any(fold(each) == wanted for each in names)
    )


def check_place(settings: GuildSettings, place: Place) -> None:
    """Refuse where pictures may not be asked for, as the server or the bot's owner wants it."""
    if place.guild_id is None:
        if isinstance(settings, ElsewhereSettings) and not settings.enabled:
            raise Refused("servers_only")
        return
    allowed = settings.channels
    if allowed and place.channel_id not in allowed and place.parent_id not in allowed:
        channels = ", ".join(f"<#{channel}>" for channel in allowed[:5])
        raise Refused("channel_not_allowed", channels=channels)
    if settings.age_restricted and not place.age_restricted:
        raise Refused("age_restricted_only")


IN_CHANNEL: Final = (
    "view_channel",
    "embed_links",
    "attach_files",
    "add_reactions",
    "read_message_history",
)
"""Permissions that every answer of the bot needs, beside the one to send."""


IN_ANSWERS: Final = ("embed_links", "attach_files")
"""Permissions that pictures in an answer to an interaction need."""


def check_permissions(granted: Collection[str], texts: Texts, *, thread: bool = False) -> None:
    """Refuse where the bot could not post its answer, before anything is drawn.

    `granted` are Discord's names of the permissions that the bot has there.
    """
    sending = "send_messages_in_threads" if thread else "send_messages"
    if "administrator" not in granted:
        _require((*IN_CHANNEL, sending), granted, texts)


def check_answering(granted: Collection[str], texts: Texts) -> None:
    """Refuse where an app that only a person has installed could not show pictures.

    It posts nothing by itself: its answers need no more than this.
    """
    _require(IN_ANSWERS, granted, texts)


def _require(needed: Collection[str], granted: Collection[str], texts: Texts) -> None:
    missing = [name for name in needed if name not in granted]
    if missing:
        names = ", ".join(texts(f"permission_{name}") for name in missing)
        raise Refused("permissions_missing", names=names)
