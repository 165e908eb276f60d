"""How much somebody may ask for: jobs that wait at once, and pictures a day."""

from datetime import timedelta

from bot.access import permissions, quotas
from bot.access.caller import Caller
from bot.clock import DiscordClock
from generation.refusal import Refused
from generation.rules import Rules
from generation.worker_pool import WorkerPool
from storage.intake import (
    AskingLimits,
    LimitReachedError,
    QuotaReachedError,
    TooManyWaitingError,
)
from storage.store import Store


class RequestShares:
    """Everybody's share, and what is left of it."""

    def __init__(
        self, store: Store, workers: WorkerPool, rules: Rules, clock: DiscordClock
    ) -> None:
        self._store = store
        self._workers = workers
        self._rules = rules
        self._clock = clock

    async def check_asking(self, caller: Caller, count: int = 1) -> int | None:
        """Refuse, before pictures are fetched for it or it is confirmed, whoever may not ask for so
        many pictures here now; returns how many they may yet have today, None for any number.
        """
        permissions.check_asking(caller)
        limits = self.limits_of(caller)
        waiting = await self._store.jobs.count_waiting(caller.person.id)
        if limits.waiting is not None and waiting >= limits.waiting:
            raise await self._too_many_waiting(waiting, caller)
        if limits.pictures is None:
            return None
        now, usage = self._clock.now(), self._store.usage
        quota = (caller.person.id, caller.place.guild_id, now - limits.window)
        used = await usage.count_since(*quota)
        if used + count > limits.pictures:
            times = await usage.pictures_since(*quota)
            quotas.check_quota(count, times, limits.pictures, now)
            # some were given back just now
            used = sum(pictures for _, pictures in times)
        return limits.pictures - used

    def limits_of(self, caller: Caller) -> AskingLimits:
        """A person's share: jobs that wait or run at once, and pictures a day on this server."""
        person, guild, most = caller.person, caller.guild, self._rules.limits.waiting
        return AskingLimits(
            waiting=quotas.waiting_limit(person.roles, guild.waiting_by_role, guild.waiting, most),
            pictures=quotas.limit_for(person.roles, guild.quota_by_role, guild.quota),
            window=quotas.WINDOW,
        )

    async def _too_many_waiting(self, count: int, caller: Caller) -> Refused:
        when = self._clock.now() + timedelta(seconds=await self._seconds_to_next(caller.person.id))
        return Refused("too_many_waiting", count=count, when=quotas.countdown(when))

    async def _seconds_to_next(self, user_id: int) -> float:
        """When the first of somebody's requests will be done."""
        own = [job.id for job in await self._store.jobs.running_of(user_id)]
        left = [await self._workers.seconds_left(job_id) for job_id in own]
        if not own:
            planned = await self._workers.plan(first=0, user_id=user_id)
            left = [one.seconds_until_done for one in planned]
        return min((seconds for seconds in left if seconds is not None), default=0.0)

    async def refusal(self, reached: LimitReachedError, count: int, caller: Caller) -> Refused:
        """What somebody is told who asks for so many pictures over their share."""
        if isinstance(reached, TooManyWaitingError):
            return await self._too_many_waiting(reached.count, caller)
        assert isinstance(reached, QuotaReachedError)
        now = self._clock.now()
        try:
            quotas.check_quota(count, reached.used, reached.limit, now)
        except Refused as refused:
            return refused
        # it was reached when this was asked, and a moment later is not
        return Refused("quota_reached", limit=reached.limit, when=quotas.countdown(now))
