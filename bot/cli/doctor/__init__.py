"""`python -m bot doctor`: a line for each check, and for each failure how to mend it."""

import sys
from typing import Final

from bot.cli.doctor.finding import Check
from bot.cli.doctor.hosts import check_hosts
from bot.cli.doctor.machine import check_device, check_memory, check_python
from bot.cli.doctor.models import check_models
from bot.cli.doctor.network import check_discord, check_hugging_face
from bot.cli.doctor.settings import check_flags, check_settings
from bot.cli.doctor.storage import check_database, check_disk
from bot.config import Config

CHECKS: Final[tuple[Check, ...]] = (
    check_python,
    check_device,
    check_memory,
    check_settings,
    check_flags,
    check_models,
    check_database,
    check_disk,
    check_discord,
    check_hugging_face,
    check_hosts,
)


async def doctor(config: Config) -> int:
    """Print every finding as it comes; returns 1 when anything is fatal."""
    failed = False
    for check in CHECKS:
        async for finding in check(config):
            sys.stdout.write(f"{finding}\n")
            sys.stdout.flush()
            failed |= bool(finding.mend) and finding.fatal
    return int(failed)
