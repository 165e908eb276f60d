"""What actions do that don't just make a request: one handler each, behind button and reaction."""

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from bot.access.permissions import Rights, check_remains
from bot.delivery.lighter_copies import send_fitting
from bot.features.actions import control_modal, extend_modal, modals, redraw_modal
from bot.features.actions.reply import InteractionReply, Reply
from bot.interactions.drafts import typing
from bot.interactions.edit_modal import edit_modal
from bot.interactions.responding import AnsweredError, Interaction, responding
from bot.interactions.sight import at_component
from bot.pictures.attachments import ShownPictures
from bot.requests.actions import ActionTarget
from bot.requests.edits import of_job
from bot.services import Services
from bot.ui import action_buttons, job_embeds
from bot.ui.formatting import text_file
from generation import outpainting
from generation.job import Job, PictureRecord
from generation.refusal import Refused

TEXT_MAX: Final = 1900
"""Characters of a code block that fit in a message; a longer text becomes a file."""

Handler = Callable[[Services, Reply, ActionTarget, Job], Awaitable[None]]


async def on_button(interaction: Interaction, target: ActionTarget, job_id: int) -> None:
    """Do an action for whoever pressed its button."""
    services = interaction.client.services
    with contextlib.suppress(AnsweredError):
        async with responding(interaction) as caller:
            reply = InteractionReply(interaction, caller)
            job = await services.store.jobs.get(job_id)
            if job is not None:
                there = await at_component(interaction, caller, job)
                if target.action.asks:
                    typing(interaction, job)
                await perform(services, reply, target, job, there)
            elif target.action.name == "delete" and interaction.message is not None:
                await delete_remains(services, reply, interaction.message.id)
            else:
                raise Refused("job_unknown")


async def perform(
    services: Services, reply: Reply, target: ActionTarget, job: Job, there: Rights
) -> None:
    """Do an action on a job that is shown where the person may do what `there` says.

    Raises Refused where it may not be done.
    """
    requests, action = services.requests, target.action
    await requests.check(action.name, reply.caller, job, there)
    if action.posts:
        reply.check_can_post(private=reply.caller.answers_privately(job))
    if action.request is not None:
        origin = reply.origin(private=reply.caller.answers_privately(job))
        await reply.accept(await requests.remake(target, job, reply.caller, origin))
        return
    await HANDLERS[action.name](services, reply, target, job)


async def delete_remains(services: Services, reply: Reply, message_id: int) -> None:
    """Delete a message whose job is gone. Raises Refused for whoever may not."""
    check_remains(reply.caller, await services.store.jobs.had_asked(message_id))
    await reply.delete_message()
    await services.store.jobs.taken_back(message_id)


async def _cancel(services: Services, reply: Reply, _target: ActionTarget, job: Job) -> None:
    await services.requests.made.cancel(job)
    await reply.confirm()


async def _delete(_services: Services, reply: Reply, _target: ActionTarget, _job: Job) -> None:
    await reply.delete_message()


async def _favourite(services: Services, reply: Reply, target: ActionTarget, job: Job) -> None:
    requests, texts, user_id = services.requests, reply.caller.texts, reply.caller.person.id
    on = not reply.toggles or not await requests.made.is_favourite(user_id, job, target.index)
    await requests.made.set_favourite(user_id, job, target.index, on)
    await reply.confirm(texts("favourite_on" if on else "favourite_off"))


async def _parameters(services: Services, reply: Reply, target: ActionTarget, job: Job) -> None:
    """The infotext, and the PNGs that carry it."""
    pictures = [p for p in job.pictures if target.index is None or p.index == target.index]
    if not pictures:
        raise Refused("own_picture_gone", job=job.id)
    await reply.defer(private=True)
    where = reply.caller.origin(private=True)
    read = services.delivery.attachments
    limit = reply.file_limit
    shown = [await read.one(job, one, where, limit) for one in pictures]
    files = [file for each in shown for file in each.files()]
    text = job_embeds.infotext(job, pictures[0])
    if len(text) > TEXT_MAX:
        whole = text_file(text, f"darkroom-{job.id}.txt")
        await reply.privately("", [whole, *files[:9]])
    else:
        await reply.privately(f"```\n{text.replace('```', 'ˋˋˋ')}\n```", files)


async def _show_control(services: Services, reply: Reply, _target: ActionTarget, job: Job) -> None:
    """What its ControlNets were shown."""
    await reply.defer(private=True)
    where = reply.caller.origin(private=True)
    pictures = services.delivery.attachments
    shown = await pictures.within(await pictures.controls(job, where), reply.file_limit)
    texts = reply.caller.texts
    if not shown.attachments and not shown.remarks(texts):
        raise Refused("control_private")
    said = (job_embeds.controls_seen(job, texts), shown.remarks(texts))
    await reply.privately("\n".join(filter(None, said)), shown.files())


async def _edit(services: Services, reply: Reply, target: ActionTarget, job: Job) -> None:
    """Opens the dialog of a request, or of one that starts from its picture."""
    if target.action.name == "retry" and not job.request.checkpoint:
        # there is nothing to write
        origin = reply.origin(private=reply.caller.answers_privately(job))
        again = await services.requests.submit(job.request, reply.caller, origin, target, job)
        await reply.accept(again)
        return
    request = services.requests.remaking.editable(target, job)
    index = target.index or 0 if target.action.name == "start" else target.index
    modal = modals.request_modal(target.action.name, request, job, index, reply.caller.texts)
    await reply.open(modal, target, job)


async def _redraw(services: Services, reply: Reply, target: ActionTarget, job: Job) -> None:
    """Opens the dialog of a part that is drawn anew, where the picture can be started from."""
    strength = services.requests.remaking.redrawn(target, job).denoising_strength
    modal = redraw_modal.modal_for(job, target.index or 0, strength, reply.caller.texts)
    await reply.open(modal, target, job)


async def _extend(services: Services, reply: Reply, target: ActionTarget, job: Job) -> None:
    """Opens the dialog of directions, where there is one to go on from."""
    services.requests.remaking.extended(target, job, outpainting.ALL_AROUND)
    await reply.open(
        extend_modal.modal_for(job, target.index or 0, reply.caller.texts), target, job
    )


async def _add_control(services: Services, reply: Reply, target: ActionTarget, job: Job) -> None:
    """Asks for one more picture to follow."""
    services.requests.remaking.editable(target, job)
    texts = reply.caller.texts
    modal = control_modal.modal_for(job, target.index, services.catalog, texts)
    await reply.open(modal, target, job)


async def _edit_words(services: Services, reply: Reply, target: ActionTarget, job: Job) -> None:
    """Asks what to change of a picture."""
    modal = await edit_modal(services, reply.caller, of_job(job, target.index))
    await reply.open(modal, target, job)


async def _pick(services: Services, reply: Reply, target: ActionTarget, job: Job) -> None:
    private = reply.caller.answers_privately(job)
    await reply.defer(private=private)
    posted = await _post_picked(services, reply, job, target.index or 0, private=private)
    await _note(services, reply, posted, job, "picture", target.index)
    if not private:
        services.delivery.chores.invite(job, *posted, target.index)


async def _replay(services: Services, reply: Reply, _target: ActionTarget, job: Job) -> None:
    origin = reply.origin(private=True)
    await reply.accept(await services.requests.replay(job, reply.caller, origin))


async def _send(services: Services, reply: Reply, _target: ActionTarget, job: Job) -> None:
    """Post an entry of one's own history where one is, for all to see."""
    caller = reply.caller
    await services.requests.check_words(job.request, caller, private=job.origin.private)
    reply.check_can_post(private=False)
    await reply.defer(private=False)
    pictures = services.delivery.attachments
    every = await pictures.of(job, caller.origin(private=False))
    shown = await pictures.within(every, reply.file_limit)
    posted = await _post(
        services,
        reply,
        shown,
        private=False,
        embed=job_embeds.parameters(job, caller.texts),
        view=action_buttons.view(job, caller.texts, services.requests.remaking.accepts),
    )
    await _note(services, reply, posted, job, "sent")
    services.delivery.chores.invite(job, *posted)


async def _forget(services: Services, reply: Reply, _target: ActionTarget, job: Job) -> None:
    """Delete an entry of one's own history for good."""
    deleted = await services.requests.made.forget_job(job)
    services.delivery.chores.take_back(deleted.messages)
    await reply.confirm(reply.caller.texts("history_forgotten", job=job.id))


async def _imagine_this(_services: Services, reply: Reply, target: ActionTarget, job: Job) -> None:
    """Opens the dialog of a new request with what was seen, to be changed."""
    if job.description is None or not job.description.prompt:
        raise Refused("nothing_to_imagine")
    await reply.open(modals.new_modal(job.description.prompt, job, reply.caller.texts), target, job)


HANDLERS: Final[Mapping[str, Handler]] = {
    "cancel": _cancel,
    "delete": _delete,
    "favourite": _favourite,
    "parameters": _parameters,
    "show_control": _show_control,
    "edit": _edit,
    "start": _edit,
    "extend": _extend,
    "redraw": _redraw,
    "add_control": _add_control,
    "edit_words": _edit_words,
    "retry": _edit,
    "imagine_this": _imagine_this,
    "pick": _pick,
    "replay": _replay,
    "send": _send,
    "forget": _forget,
}


async def _note(
    services: Services,
    reply: Reply,
    posted: tuple[int, int],
    job: Job,
    kind: str,
    position: int | None = None,
) -> None:
    """Note a message that was posted. Raises Refused where its job was deleted meanwhile."""
    if not await services.delivery.chores.note(posted, job, kind, position=position):
        await reply.take_back()
        raise Refused("own_job_deleted", job=job.id)


async def _post(
    services: Services, reply: Reply, original: ShownPictures, *, private: bool, **message: Any
) -> tuple[int, int]:
    """Post pictures, as lighter copies where Discord takes no others; returns the ids."""

    async def post(shown: ShownPictures) -> tuple[int, int]:
        content, files = shown.remarks(reply.caller.texts), shown.files()
        return await reply.post({"content": content, "files": files, **message}, private=private)

    return await send_fitting(services.delivery.attachments, original, post)


async def _post_picked(
    services: Services, reply: Reply, job: Job, index: int, *, private: bool
) -> tuple[int, int]:
    """Post one picture among several, with what can be done with it."""
    texts, picture = reply.caller.texts, _picture(job, index)
    where = reply.caller.origin(private=private)
    pictures = services.delivery.attachments
    shown = await pictures.one(job, picture, where, reply.file_limit)
    return await _post(
        services,
        reply,
        shown,
        private=private,
        embed=job_embeds.picture(job, picture, texts),
        view=action_buttons.view(job, texts, services.requests.remaking.accepts, index),
    )


def _picture(job: Job, index: int) -> PictureRecord:
    for picture in job.pictures:
        if picture.index == index:
            return picture
    raise Refused("own_picture_gone", job=job.id)
