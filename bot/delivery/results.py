"""Brings the end of a job to its owner: its pictures, or in words why there are none to be seen."""

import itertools
import secrets
from collections.abc import Awaitable, Callable
from typing import TypeVar

import discord
import structlog

from bot.delivery.audit import Audit
from bot.delivery.failures import (
    RETRIES,
    SENDING_ERRORS,
    may_pass,
    refusal_key,
)
from bot.delivery.job_message import JobMessage, NowhereError, OutgoingMessage
from bot.delivery.lighter_copies import send_fitting
from bot.delivery.message_chores import MessageChores, Pause
from bot.delivery.pings import Pings
from bot.delivery.surroundings import JobSurroundings
from bot.locales import Texts
from bot.pictures.attachments import (
    JobAttachments,
    ShownPictures,
    upload_limit,
)
from bot.requests.actions import Accepts
from bot.ui import action_buttons, job_embeds
from generation.job import Job, JobState
from storage.approvals import Approval, ApprovalStore
from storage.errors import DatabaseError
from storage.jobs import JobStore
from storage.owed import Owed

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Results:
    """Delivers what came of jobs, however long Discord and the database take to accept it."""

    def __init__(
        self,
        client: discord.Client,
        jobs: JobStore,
        attachments: JobAttachments,
        chores: MessageChores,
        around: JobSurroundings,
        pings: Pings,
        pause: Pause,
        accepts: Accepts,
        audit: Audit,
        approvals: ApprovalStore,
        told: Callable[[Job, bool], None],
    ) -> None:
        self._told = told
        self._client = client
        self._jobs = jobs
        self._approvals = approvals
        self._attachments = attachments
        self._chores = chores
        self._around = around
        self._pings = pings
        self._pause = pause
        self._accepts = accepts
        self._audit = audit

    async def deliver(self, job_id: int, message: JobMessage) -> bool:
        """Show the end of a job, and note that its owner has been told; returns whether a moderator
        is to be asked about its pictures now.
        """
        job = await self._retried(lambda: self._jobs.get(job_id), job_id)
        if job is None:
            await self._leave_nothing(job_id, message)
            return False
        if job.delivered_at is not None or job.process != self._jobs.process:
            # told already, or by another process, which took this one for gone
            return False
        try:
            written = await self._write_pictures(job, message)
        except NowhereError:
            written = None
        except SENDING_ERRORS as error:
            log.warning("Discord refuses a result", job=job.id, error=str(error))
            written = await self._write_words(job, message, refusal_key(error))
        except Exception:
            incident = secrets.token_hex(4)
            log.exception("a result can't be shown", job=job.id, incident=incident)
            written = await self._write_words(job, message, "incident", incident=incident)
        if written is None:
            log.warning("nobody could be told", job=job.id)
            self._audit.untold(job)
        approval = await self._approval(job)
        waits = approval is not None and approval.verdict == "waiting"
        await self._note(job, message, written, pings=not waits)
        self._told(job, written is not None)
        if approval is not None and not waits:
            # it may have been decided after the pictures were read
            await self.show_decided(job, message)
        return waits

    async def show_decided(self, job: Job, message: JobMessage) -> None:
        """Show in the result of a job what a moderator has decided about its pictures.

        Where it is not delivered yet, that will; where its owner has deleted it, nothing is shown.
        """
        if await self._is_there(job):
            try:
                written = await self._write_pictures(job, message)
            except (NowhereError, *SENDING_ERRORS) as error:
                log.warning("what was decided can't be shown", job=job.id, error=str(error))
            else:
                approval = await self._approval(job)
                approved = approval is not None and approval.verdict == "approved"
                await self._note(job, message, written, pings=approved)
        await self._retried(lambda: self._approvals.told(job.id), job.id)

    async def _is_there(self, job: Job) -> bool:
        for channel_id, message_id in await self._retried(
            lambda: self._jobs.messages_of(job.id, "result"), job.id
        ):
            channel = self._client.get_partial_messageable(channel_id)
            try:
                await channel.get_partial_message(message_id).fetch()
            except discord.NotFound:
                continue
            except SENDING_ERRORS as error:
                log.info("a result can't be looked at", job=job.id, error=str(error))
            return True
        return False

    async def _approval(self, job: Job) -> Approval | None:
        return await self._retried(lambda: self._approvals.of(job.id), job.id)

    async def _retried(self, question: Callable[[], Awaitable[T]], job_id: int) -> T:
        """What the database and the store of pictures say, however long they take to."""
        for wait in itertools.chain(RETRIES, itertools.repeat(RETRIES[-1])):
            try:
                return await question()
            except DatabaseError as error:
                log.warning("what is kept is waited for", job=job_id, error=str(error))
                await self._pause(wait)
        raise AssertionError("the waits never end")

    async def _leave_nothing(self, job_id: int, message: JobMessage) -> None:
        """Take back what was written of a job that was deleted meanwhile."""
        for wait in itertools.chain(RETRIES, itertools.repeat(RETRIES[-1])):
            try:
                left = await message.remains()
            except SENDING_ERRORS as error:
                if not may_pass(error):
                    log.info("a deleted job's message can't be found", job=job_id, error=str(error))
                    if message.channel_id is not None:
                        self._chores.left_standing(message.channel_id)
                    return
                await self._pause(wait)
            else:
                if left is not None:
                    self._chores.take_back([left])
                return

    async def _write_pictures(self, job: Job, message: JobMessage) -> tuple[int, int]:
        texts = Texts(job.origin.locale)
        pictures = self._attachments
        shown = await self._retried(lambda: pictures.of(job), job.id)
        original = await pictures.within(shown, upload_limit(self._client, job.origin))
        around = await self._retried(lambda: self._around.of(job), job.id)
        replayed = _replayed(job, around.parent, texts)
        ended = job_embeds.ended(job, texts, around)

        async def write(shown: ShownPictures) -> tuple[int, int]:
            lines = filter(None, (replayed, shown.remarks(texts), ended.content))
            result = self._result(job, "\n".join(lines), ended.embed, shown)
            return await self._write(job, message, result)

        return await send_fitting(pictures, original, write)

    def _result(
        self, job: Job, content: str, embed: discord.Embed | None, shown: ShownPictures
    ) -> OutgoingMessage:
        view = action_buttons.view(job, Texts(job.origin.locale), self._accepts)
        return OutgoingMessage(content=content, embed=embed, files=shown.files, view=view)

    async def _write_words(
        self, job: Job, message: JobMessage, key: str, **params: str
    ) -> tuple[int, int] | None:
        """In place of a result that can't be shown: with its buttons, or failing that, without."""
        texts = Texts(job.origin.locale)
        sentence = texts(key, job=job.id, **params)
        for view in (action_buttons.view(job, texts, self._accepts), None):
            try:
                words = OutgoingMessage(content=sentence, view=view)
                return await self._write(job, message, words)
            except NowhereError:
                break
            except SENDING_ERRORS as error:
                log.warning("Discord refuses words, too", job=job.id, error=str(error))
        return None

    async def _write(
        self, job: Job, message: JobMessage, outgoing: OutgoingMessage
    ) -> tuple[int, int]:
        """Write until Discord has taken it. Raises what will not pass."""
        for wait in itertools.chain(RETRIES, itertools.repeat(RETRIES[-1])):
            try:
                return await message.write(outgoing, "result")
            except (*SENDING_ERRORS, DatabaseError) as error:
                if not may_pass(error):
                    raise
                log.info("delivery is tried again", job=job.id, error=str(error), seconds=wait)
                await self._pause(wait)
        raise AssertionError("the waits never end")

    async def _note(
        self, job: Job, message: JobMessage, written: tuple[int, int] | None, *, pings: bool
    ) -> None:
        """Note what was told: while the database is busy nothing is posted a second time."""
        ping: Owed | None = None
        emoji: Owed | None = None
        if written is not None and not job.origin.private and job.delivered_at is None:
            emoji = self._chores.invitation(job, *written)
        for wait in itertools.chain(RETRIES, itertools.repeat(RETRIES[-1])):
            try:
                if written is not None and not await message.note(written, "result"):
                    # deleted while it was delivered
                    await self._leave_nothing(job.id, message)
                    return
                if pings and written is not None and await self._pings.wanted(job):
                    ping = Owed("ping", job.id, *written)
                await self._jobs.owed.note([each for each in (ping, emoji) if each is not None])
                await self._jobs.mark_delivered(job.id)
                break
            except DatabaseError as error:
                log.warning("a delivery can't be noted yet", job=job.id, error=str(error))
                await self._pause(wait)
        if emoji is not None:
            self._chores.add_emoji(job, emoji)
        if ping is not None:
            self._pings.ping(job, ping)


def _replayed(job: Job, parent: Job | None, texts: Texts) -> str:
    """Whether a replay came out the same, and if not, what has changed."""
    if job.action != "replay" or parent is None or job.state is not JobState.FINISHED:
        return ""
    return job_embeds.replayed(parent, job, texts)
