"""Has moderators look at pictures that a server holds until one has approved them.

What is asked stands in the database before it is posted, so that a stop loses none of it; the
buttons are found by their custom_ids, so that they work for ever.
"""

import itertools
from typing import Final

import discord
import structlog

from bot.background import BackgroundTasks
from bot.delivery.audit import Audit
from bot.delivery.failures import RETRIES, SENDING_ERRORS, may_pass, outcome_unknown
from bot.delivery.lighter_copies import send_fitting
from bot.delivery.message_chores import Pause
from bot.locales import Texts
from bot.pictures.attachments import JobAttachments, ShownPictures, upload_limit
from bot.ui import approval_question
from generation.job import Job
from storage.approvals import ApprovalStore
from storage.errors import DatabaseError
from storage.jobs import JobStore
from storage.settings import SettingsStore

log = structlog.get_logger(__name__)

TROUBLE: Final = "trouble_approval"
LOOKED_THROUGH: Final = 300
"""Messages of an audit channel in which a question is looked for that may have been posted."""


class Approvals:
    """Posts the questions to the servers' audit channels."""

    def __init__(
        self,
        client: discord.Client,
        approvals: ApprovalStore,
        jobs: JobStore,
        settings: SettingsStore,
        attachments: JobAttachments,
        audit: Audit,
        tasks: BackgroundTasks,
        pause: Pause,
    ) -> None:
        self._client = client
        self._approvals = approvals
        self._jobs = jobs
        self._settings = settings
        self._attachments = attachments
        self._audit = audit
        self._tasks = tasks
        self._pause = pause
        self._under_way: set[int] = set()
        """The numbers of the jobs about which moderators are being asked."""
        approvals.listen(self.ask)

    def ask(self, job_id: int, *, posted: bool = False) -> None:
        """Ask about a job of which it is noted that it is to be asked. `posted` says that an
        earlier process may have done so.
        """
        if job_id not in self._under_way:
            self._under_way.add(job_id)
            task = self._tasks.spawn(self._ask(job_id, posted=posted))
            task.add_done_callback(lambda _: self._under_way.discard(job_id))

    async def ask_again(self, guild_id: int | None = None) -> None:
        """Ask what could not be asked yet, on one server or on all. Raises DatabaseError."""
        for job_id in await self._approvals.unasked(guild_id):
            self.ask(job_id, posted=True)

    async def _ask(self, job_id: int, *, posted: bool) -> None:
        for wait in itertools.chain(RETRIES, itertools.repeat(RETRIES[-1])):
            try:
                await self._post(job_id, posted=posted)
                return
            except (*SENDING_ERRORS, DatabaseError) as error:
                if not isinstance(error, DatabaseError) and not may_pass(error):
                    await self._cannot(job_id, error)
                    return
                posted |= not isinstance(error, DatabaseError) and outcome_unknown(error)
                log.info("an approval is asked for again", job=job_id, error=str(error))
            except Exception:
                log.exception("an approval can't be asked for", job=job_id)
                return
            await self._pause(wait)

    async def _post(self, job_id: int, *, posted: bool) -> None:
        job, approval = await self._jobs.get(job_id), await self._approvals.of(job_id)
        if job is None or approval is None or approval.message_id is not None:
            return
        settings = await self._settings.guild(approval.guild_id)
        if approval.verdict != "waiting" or settings.audit_channel is None:
            # it is asked once there is such a channel
            return
        channel = self._client.get_partial_messageable(
            settings.audit_channel, guild_id=approval.guild_id
        )
        message = await self._find(channel, job_id) if posted else None
        texts = Texts(settings.language or "en-US")
        message = message or await self._send(channel, job, texts)
        self._audit.can(approval.guild_id, settings.audit_channel, TROUBLE)
        if not await self._approvals.asked(job_id, message.channel.id, message.id):
            await message.delete()  # its job was deleted meanwhile

    async def _send(
        self, channel: discord.PartialMessageable, job: Job, texts: Texts
    ) -> discord.Message:
        shown_in = next(iter(await self._jobs.messages_of(job.id, "result")), None)
        embed = approval_question.embed(job, texts, shown_in)
        original = await self._attachments.to_approve(job)
        fitted = await self._attachments.within(original, upload_limit(self._client, job.origin))

        async def send(shown: ShownPictures) -> discord.Message:
            return await channel.send(
                shown.remarks(texts) or None,
                embed=embed,
                files=shown.files(),
                view=approval_question.buttons(job.id, texts),
                nonce=f"h{job.id}-{round(job.created_at.timestamp() * 1000):x}",
            )

        return await send_fitting(self._attachments, fitted, send)

    async def _find(
        self, channel: discord.PartialMessageable, job_id: int
    ) -> discord.Message | None:
        own = self._client.user
        async for message in channel.history(limit=LOOKED_THROUGH):
            ours = own is not None and message.author.id == own.id
            if ours and approval_question.asks(message, job_id):
                return message
        return None

    async def _cannot(self, job_id: int, error: Exception) -> None:
        log.warning("an audit channel takes no question", job=job_id, error=str(error))
        approval = await self._approvals.of(job_id)
        if approval is not None:
            settings = await self._settings.guild(approval.guild_id)
            if settings.audit_channel is not None:
                self._audit.cannot(approval.guild_id, settings.audit_channel, TROUBLE)
