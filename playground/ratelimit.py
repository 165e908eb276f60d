"""Rate limits: one bucket a route and major parameter, one for everything, with real headers."""

# ruff: noqa: N818  (named for what happened, as in Discord's own list)

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

from .clock import Clock
from .world import Json

GLOBAL_PER_SECOND = 50

WEBHOOK = "/webhooks/{application}/{token}"

LIMITS: dict[tuple[str, str], tuple[int, float]] = {
    ("POST", "/channels/{channel}/messages"): (5, 5.0),
    ("PATCH", "/channels/{channel}/messages/{message}"): (5, 5.0),
    ("DELETE", "/channels/{channel}/messages/{message}"): (5, 1.0),
    ("GET", "/channels/{channel}/messages"): (5, 5.0),
    ("POST", "/channels/{channel}/typing"): (5, 5.0),
    ("REACTION", ""): (1, 0.25),
    ("POST", WEBHOOK): (5, 2.0),
    ("WEBHOOK", ""): (5, 2.0),
}
"""Requests and seconds, as observed on Discord (which documents only the headers)."""

DEFAULT = (10, 1.0)
TOLERANCE = 0.01
"""Seconds by which a request may come too early: timers are no finer everywhere."""

MOST_BUCKETS = 5000

ON_ITS_WAY = 0.05
"""Seconds after a 429 in which requests come that were sent before the client knew of it."""

REPORTED = 1000
"""Refusals and early requests that a report names; it counts them all."""

MAJOR = ("channel", "guild", "application", "token")


class RateLimited(Exception):
    """429. `scope` is "user" for a route's bucket, "global" for all requests together."""

    def __init__(self, retry_after: float, scope: str, headers: dict[str, str]) -> None:
        super().__init__(scope)
        self.retry_after = retry_after
        self.headers = headers | {
            "Retry-After": str(max(1, round(retry_after + 0.5))),
            "X-RateLimit-Scope": scope,
        }
        if scope == "global":
            self.headers["X-RateLimit-Global"] = "true"

    def body(self) -> Json:
        return {
            "message": "You are being rate limited.",
            "retry_after": round(self.retry_after, 3),
            "global": "X-RateLimit-Global" in self.headers,
        }


@dataclass
class Bucket:
    limit: int
    window: float
    used: int = 0
    ends: float = 0.0


class RateLimits:
    """Counts requests by the machine's monotonic clock, in windows that start at first use."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.enabled = True
        self.forget()

    def forget(self) -> None:
        """Every bucket is full again, and nothing was counted."""
        self._buckets: dict[str, Bucket] = {}
        self._global = Bucket(GLOBAL_PER_SECOND, 1.0)
        self._waits: dict[str, tuple[float, float]] = {}
        """By bucket ("" for all of them): when the last 429 was given and until when to wait."""
        self.refusals: list[Json] = []
        """Each 429: `{"method", "route", "scope", "retry_after"}`."""
        self.early: list[Json] = []
        """Each request that came before it should: `{"method", "route", "early_by"}`."""

    def report(self) -> Json:
        """As the control protocol gives it."""
        return {
            "enabled": self.enabled,
            "refused": len(self.refusals),
            "early": len(self.early),
            "refusals": self.refusals[-REPORTED:],
            "early_requests": self.early[-REPORTED:],
        }

    def given(
        self, method: str, route: str, major: str, retry_after: float, *, everything: bool = False
    ) -> None:
        """A 429 was given; until `retry_after` seconds from now such a request comes too early."""
        key = "" if everything else f"{_rule(method, route)[0]}:{major}"
        now = time.monotonic()
        self._waits[key] = now, now + retry_after
        scope = "global" if everything else "user"
        refusal = {"method": method, "route": route, "scope": scope, "retry_after": retry_after}
        self.refusals.append(refusal)

    def arrived(self, method: str, route: str, major: str) -> None:
        """Note a request that comes before the last 429 of its bucket (or of all) allows it."""
        now = time.monotonic()
        keys = [f"{_rule(method, route)[0]}:{major}"]
        if not route.startswith("/webhooks/"):
            keys.append("")
        for key in keys:
            given, until = self._waits.get(key, (0.0, 0.0))
            if now - given > ON_ITS_WAY and until - now > TOLERANCE:
                early = {"method": method, "route": route, "early_by": round(until - now, 3)}
                self.early.append(early)
                return

    def take(self, method: str, route: str, major: str) -> dict[str, str]:
        """Count one request; returns its headers or raises RateLimited.

        `route` is the template (`/channels/{channel}/messages`), `major` its major parameters.
        """
        name, (limit, window) = _rule(method, route)
        key = f"{name}:{major}"
        if len(self._buckets) > MOST_BUCKETS:
            self._forget_full()
        if not self.enabled or route.endswith("/callback"):
            return {}
        now = time.monotonic()
        if not route.startswith("/webhooks/"):
            self._take_global(now, method, route)
        bucket = self._buckets.setdefault(key, Bucket(limit, window))
        if now >= bucket.ends:
            bucket.used, bucket.ends = 0, now + bucket.window
        bucket.used += 1
        left = bucket.ends - now
        headers = {
            "X-RateLimit-Limit": str(bucket.limit),
            "X-RateLimit-Remaining": str(max(0, bucket.limit - bucket.used)),
            "X-RateLimit-Reset": f"{self._clock.told() + left:.3f}",
            "X-RateLimit-Reset-After": f"{left:.3f}",
            "X-RateLimit-Bucket": hashlib.md5(name.encode()).hexdigest(),
        }
        if bucket.used > bucket.limit:
            self.given(method, route, major, left)
            raise RateLimited(left, "user", headers)
        return headers

    def _forget_full(self) -> None:
        """Each interaction's token has buckets of its own, which are full again soon."""
        now = time.monotonic()
        self._buckets = {key: b for key, b in self._buckets.items() if b.ends > now}
        self._waits = {key: wait for key, wait in self._waits.items() if wait[1] > now}

    def _take_global(self, now: float, method: str, route: str) -> None:
        bucket = self._global
        if now >= bucket.ends:
            bucket.used, bucket.ends = 0, now + bucket.window
        bucket.used += 1
        if bucket.used > bucket.limit:
            self.given(method, route, "", bucket.ends - now, everything=True)
            raise RateLimited(bucket.ends - now, "global", {})


def _rule(method: str, route: str) -> tuple[str, tuple[int, float]]:
    """The bucket's name and its limit; reactions share one, a token's edits another."""
    if "/reactions/" in route and method in ("PUT", "DELETE"):
        return "reactions", LIMITS["REACTION", ""]
    if route.startswith(WEBHOOK) and route != WEBHOOK:
        return f"{method} webhook messages", LIMITS["WEBHOOK", ""]
    return f"{method} {route}", LIMITS.get((method, route), DEFAULT)
