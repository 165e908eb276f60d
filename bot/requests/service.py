"""Where people's wishes become jobs: commands, buttons, reactions and dialogs all come here."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec
import structlog

from bot.access import permissions
from bot.access.caller import Caller
from bot.access.permissions import Rights
from bot.clock import DiscordClock
from bot.requests.actions import ActionTarget
from bot.requests.derived import enlarged
from bot.requests.given_pictures import NO_PICTURE, sizes_of
from bot.requests.made import MadeRequests
from bot.requests.masks import check_masked
from bot.requests.presets import ChosenPreset, RequestPresets, use_there
from bot.requests.remaking import Remaking
from bot.requests.shares import RequestShares
from bot.requests.words import check_drawn
from generation import checks, completion, describing, preset
from generation.catalog import Catalog
from generation.enlarging import NO_UPSCALER, NO_WISH, Wish, of_upload
from generation.info import asking
from generation.info.found import Info
from generation.info.resolving import Resolved
from generation.job import Job, Origin, PresetUse
from generation.refusal import Refused
from generation.request import GenerationRequest
from generation.request_options import options
from generation.request_parts import ControlUse, DescriptionStyle, Enlargement
from generation.rules import Rules
from generation.worker_pool import WorkerPool
from storage.intake import (
    LimitReachedError,
)
from storage.store import Store

log = structlog.get_logger(__name__)

OnBlocked = Callable[[Caller, str | None, Refused], None]
"""Told who asked, for what prompt unless it is private, and what they were answered."""
MODELS_SECONDS: Final = 1.0
"""So long a request waits for the first scan of the models: Discord waits three seconds for us."""


class RequestService:
    """Checks what is asked for and writes it down. Raises Refused, with what to change."""

    def __init__(
        self,
        store: Store,
        workers: WorkerPool,
        catalog: Catalog,
        rules: Rules,
        clock: DiscordClock,
    ) -> None:
        self.store = store
        self.jobs = store.jobs
        self.settings = store.settings
        self.catalog = catalog
        self.rules = rules
        self.presets = RequestPresets(store, catalog)
        self.workers = workers
        self.remaking = Remaking(catalog, rules)
        self.shares = RequestShares(store, workers, rules, clock)
        self.made = MadeRequests(store, workers)
        self._listeners: list[OnBlocked] = []

    def listen(self, listener: OnBlocked) -> None:
        """Have `listener` told of requests that are refused for their words."""
        self._listeners.append(listener)

    # asking

    async def ask(
        self,
        given: Mapping[str, Any],
        caller: Caller,
        origin: Origin,
        preset_name: str | None = None,
    ) -> Job:
        """A request from what a person gave; the preset and then the defaults fill it in."""
        request, use = await self.request_of(given, caller, preset_name)
        return await self._add(request, caller, origin, preset=use)

    async def imagine_this(
        self,
        given: Mapping[str, Any],
        caller: Caller,
        origin: Origin,
        preset_name: str | None,
        described: Job,
    ) -> Job:
        """A request that came of a description: of the picture that was described, where that was
        drawn here, or else of the description.
        """
        request, use = await self.request_of(given, caller, preset_name)
        drawn = described.parent is not None
        return await self._add(
            request,
            caller,
            origin,
            action="imagine_this",
            parent=described.parent if drawn else described.id,
            parent_picture=described.parent_picture if drawn else None,
            preset=use,
        )

    async def edit(
        self,
        given: Mapping[str, Any],
        caller: Caller,
        origin: Origin,
        preset_name: str | None,
        came_of: Job | None,
        index: int | None,
    ) -> Job:
        """Pictures changed by what the prompt says, of another request's or of anybody's. No preset
        holds that is not named: usual ones are made for models that draw.
        """
        request, use = await self.request_of(given, caller, preset_name, usual=False)
        parent = None if came_of is None else came_of.id
        return await self._add(
            request,
            caller,
            origin,
            action="edit_words",
            parent=parent,
            parent_picture=index,
            preset=use,
        )

    async def check_given(
        self,
        given: Mapping[str, Any],
        pictures: Iterable[str],
        caller: Caller,
        name: str | None,
        *,
        usual: bool = True,
    ) -> None:
        """Refuse what would be refused whatever these options' pictures show, before they are
        fetched and kept; `name` is the preset's, and without one the `usual` one holds.
        """
        given = {**given, **dict.fromkeys(pictures, NO_PICTURE)}
        masked = {name for name, option in options().items() if option.needs == "mask"}
        wanted = given.keys() & {*masked, "controlnet"} and "mask_words" not in given
        if wanted and "init_picture" in given:
            # a picture may bring its mask itself
            given.setdefault("mask", NO_PICTURE)
        await self.request_of(given, caller, name, usual=usual)

    async def request_of(
        self,
        given: Mapping[str, Any],
        caller: Caller,
        preset_name: str | None,
        *,
        usual: bool = True,
    ) -> tuple[GenerationRequest, PresetUse | None]:
        """The request that a person's options mean over that preset or the default one, and which
        preset it is.
        """
        permissions.check_asking(caller)
        await self.catalog.ready(MODELS_SECONDS)
        chosen = await self.preset_for(caller, preset_name) if usual or preset_name else None
        sizes = await sizes_of(given, self.jobs)
        rules = self._rules_for(caller)
        if chosen is None:
            request = completion.complete(given, self.catalog, rules, sizes)
        else:
            request = preset.complete(given, chosen.preset, self.catalog, rules, sizes)
            preset.check_bounds(chosen.preset, request)
        permissions.check_models(caller, request)
        return request, chosen.use if chosen is not None else None

    def _rules_for(self, caller: Caller) -> Rules:
        """The rules with what somebody, or the server where they ask, has set of files."""
        here, usual = caller.guild, self.rules.output
        output = msgspec.structs.replace(
            usual,
            format=caller.own.format or here.format or usual.format,
            quality=here.quality or usual.quality,
        )
        return msgspec.structs.replace(self.rules, output=output)

    async def preset_for(self, caller: Caller, name: str | None) -> ChosenPreset | None:
        """The preset of that name, or else the default of somebody and their place."""
        chosen = await self.presets.chosen(caller, name)
        if chosen is not None and not chosen.use.own:
            preset.check_roles(chosen.preset, caller.person.roles)
        return chosen

    async def ask_again(self, info: Info, here: Resolved, caller: Caller, origin: Origin) -> Job:
        """What a picture's file says, of which so much is `here`. Of the preset that holds there
        its bounds are kept, and nothing of it is filled in.
        """
        permissions.check_asking(caller)
        await self.catalog.ready(MODELS_SECONDS)
        request = asking.request_of(info, here, self.catalog, self._rules_for(caller))
        if request.uploads and not await self.jobs.has_files(caller.person.id, request.uploads):
            # a hash that somebody has seen is no right to another's picture
            raise Refused("info_pictures_gone")
        chosen = await self.preset_for(caller, None)
        if chosen is not None:
            enlarging = request.enlargement is not None
            preset.check_bounds(chosen.preset, request, enlarging=enlarging)
        return await self._add(request, caller, origin)

    async def submit(
        self,
        request: GenerationRequest,
        caller: Caller,
        origin: Origin,
        target: ActionTarget,
        parent: Job,
        *,
        enlarging: bool = False,
    ) -> Job:
        """A whole request that came of another: rerolled, varied, edited, …"""
        permissions.check_asking(caller)
        await self.catalog.ready(MODELS_SECONDS)
        checks.check(request, self.catalog, self.rules, enlarging=enlarging)
        await self.presets.check(parent, request, caller, enlarging=enlarging)
        return await self._add(
            request,
            caller,
            origin,
            action=target.action.name,
            parent=parent.id,
            parent_picture=target.index,
            preset=use_there(parent, origin),
        )

    async def remake(
        self,
        target: ActionTarget,
        job: Job,
        caller: Caller,
        origin: Origin,
        wish: Wish = NO_WISH,
    ) -> Job:
        """The new job of an action that asks for pictures."""
        await self.catalog.ready(MODELS_SECONDS)
        drawn_with = await self.presets.bounding(job, caller.person.id)
        made = self.remaking.by(target, job, drawn_with, wish)
        return await self.submit(
            made.request, caller, origin, target, job, enlarging=made.enlarging
        )

    async def enlarge(
        self,
        picture: str,
        size: tuple[int, int],
        wish: Wish,
        caller: Caller,
        origin: Origin,
        action: str = "upscale",
    ) -> Job:
        """A picture of the store, handed in by somebody and of that size, made larger, or whatever
        else that action does to finished pictures."""
        permissions.check_asking(caller)
        await self.catalog.ready(MODELS_SECONDS)
        output = self._rules_for(caller).output
        request = of_upload(self.remaking.enlarge(picture, size, wish)).with_(
            format=output.format, quality=output.quality
        )
        checks.check(request, self.catalog, self.rules)
        return await self._add(request, caller, origin, action=action)

    async def preview_control(
        self, use: ControlUse, size: tuple[int, int], caller: Caller, origin: Origin
    ) -> Job:
        """What a preprocessor makes of a picture of the store, of that size."""
        permissions.check_asking(caller)
        await self.catalog.ready(MODELS_SECONDS)
        request = of_upload(Enlargement(use.picture, NO_UPSCALER, *size, *size, control=use))
        checks.check(request, self.catalog, self.rules)
        return await self._add(request, caller, origin, action="control")

    async def describe(
        self,
        picture: str,
        size: tuple[int, int],
        style: DescriptionStyle | None,
        caller: Caller,
        origin: Origin,
    ) -> Job:
        """A picture of the store, handed in by somebody and of that size, described."""
        permissions.check_place(caller.guild, caller.place)
        await self.catalog.ready(MODELS_SECONDS)
        request = describing.request_of(self.remaking.describe(picture, size, style))
        checks.check(request, self.catalog, self.rules)
        return await self._add(request, caller, origin, action="describe")

    async def change(
        self,
        request: GenerationRequest,
        caller: Caller,
        origin: Origin,
        target: ActionTarget,
        job: Job,
        use: PresetUse | None,
    ) -> Job:
        """A request as a dialog has changed it, and the preset that it is made with now."""
        parent = msgspec.structs.replace(job, preset=use)
        if use is not None and use != job.preset:
            # it is one of where this is asked
            parent = msgspec.structs.replace(parent, origin=origin)
        # what was being enlarged is still enlarged, unless it is another size or picture now
        same = ("init_picture", "width", "height", "tile")
        unchanged = all(getattr(request, n) == getattr(job.request, n) for n in same)
        enlarging = target.action.name == "retry" and enlarged(job) and unchanged
        return await self.submit(request, caller, origin, target, parent, enlarging=enlarging)

    async def blend(
        self, request: GenerationRequest, caller: Caller, origin: Origin, job: Job, index: int
    ) -> Job:
        """A picture of a job with as much of another in it, as that request has it."""
        permissions.check_asking(caller)
        await self.catalog.ready(MODELS_SECONDS)
        checks.check(request, self.catalog, self.rules)
        await self.presets.check(job, request, caller, enlarging=False)
        return await self._add(
            request,
            caller,
            origin,
            action="blend",
            parent=job.id,
            parent_picture=index,
            preset=use_there(job, origin),
        )

    async def blend_shown(
        self,
        given: Mapping[str, Any],
        caller: Caller,
        origin: Origin,
        came_of: tuple[Job, int] | None,
    ) -> Job:
        """Pictures that a model or an IP-Adapter is shown, of which the first of another request's
        is named as what it comes of.
        """
        request, use = await self.request_of(given, caller, None)
        return await self._add(
            request,
            caller,
            origin,
            action="blend",
            parent=None if came_of is None else came_of[0].id,
            parent_picture=None if came_of is None else came_of[1],
            preset=use,
        )

    async def replay(self, job: Job, caller: Caller, origin: Origin) -> Job:
        """The same request to the last bit."""
        permissions.check_asking(caller)
        await self.catalog.ready(MODELS_SECONDS)
        checks.check(job.request, self.catalog, self.rules, enlarging=enlarged(job))
        await self.presets.check(job, job.request, caller, enlarging=enlarged(job))
        return await self._add(
            job.request,
            caller,
            origin,
            action="replay",
            parent=job.id,
            preset=use_there(job, origin),
        )

    async def _add(
        self,
        request: GenerationRequest,
        caller: Caller,
        origin: Origin,
        *,
        action: str = "imagine",
        parent: int | None = None,
        parent_picture: int | None = None,
        preset: PresetUse | None = None,
    ) -> Job:
        await self.check_new(request, caller, origin, preset)
        try:
            # held against the shares where it is written, so that of requests sent together none
            # slips past them
            job = await self.jobs.add(
                request,
                origin,
                action=action,
                parent=parent,
                parent_picture=parent_picture,
                preset=preset,
                limits=self.shares.limits_of(caller),
                asked_by=caller.asked_by,
                held_for=caller.held_for,
            )
        except LimitReachedError as reached:
            raise await self.shares.refusal(reached, request.count, caller) from None
        log.info("queued", job=job.id, action=action, model=request.made_with)
        self.workers.wake(job)
        return job

    async def check_new(
        self,
        request: GenerationRequest,
        caller: Caller,
        origin: Origin,
        preset: PresetUse | None,
    ) -> None:
        """Refuse what somebody may not ask for, whatever their share is."""
        permissions.check_asking(caller)
        permissions.check_models(caller, request)
        if origin.private and caller.guild.picture_check == "hold_all":
            # nobody but its owner may see what is drawn, so nobody could approve it
            raise Refused("private_unapproved")
        if self.workers.places is not None and not self.workers.places(request):
            raise Refused("no_machine_has_all")
        self.workers.check(request)
        await check_masked(request, self.jobs, self.catalog)
        # everybody reads what a preset is called, and one's own can be called anything
        name = preset.name if preset is not None and preset.own else ""
        await self.check_words(request, caller, private=origin.private, name=name)

    async def check_words(
        self,
        request: GenerationRequest,
        caller: Caller,
        *,
        private: bool = False,
        name: str = "",
    ) -> None:
        """Refuse what the server's blocklist names: a prompt, or a name of one's own preset."""
        entries = caller.guild.blocklist
        if not entries:
            return
        try:
            # others' expressions may take long
            await asyncio.to_thread(check_drawn, entries, request, name)
        except Refused as refused:
            for listener in self._listeners:
                listener(caller, None if private else request.prompt, refused)
            raise

    # what is there

    async def check(
        self, act: str, caller: Caller, job: Job, there: Rights = permissions.NOWHERE
    ) -> None:
        """Refuse whoever may not do that with a request; `there` is what they may do where it is
        shown.
        """
        drawn_with = None
        if permissions.RULES[act].with_preset:
            drawn_with = await self.presets.binding(job)
        permissions.check(act, caller, job, there, drawn_with)
