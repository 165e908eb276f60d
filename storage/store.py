"""Everything that is kept, over one database and one folder of pictures."""

from storage.approvals import ApprovalStore
from storage.clock import Now, machine_time
from storage.database import Database
from storage.drafts import DraftStore
from storage.grids import GridStore
from storage.guild_presets import GuildPresetStore
from storage.history import HistoryStore
from storage.jobs import JobStore
from storage.leases import LeaseStore
from storage.notices import Notices
from storage.own_presets import OwnPresetStore
from storage.personal_data import PersonalStore
from storage.picture_store import PictureStore
from storage.quota_usage import UsageStore
from storage.retention import RetentionStore
from storage.settings import ElsewhereSettings, SettingsStore
from storage.statistics import StatisticsStore


class Store:
    """The stores, each for its own questions.

    `elsewhere` holds where no server's settings do; `now` tells the time that all
    ages and limits go by. `process` tells several apart that share a database.
    """

    def __init__(
        self,
        database: Database,
        files: PictureStore,
        elsewhere: ElsewhereSettings | None = None,
        now: Now = machine_time,
        process: str = "",
    ) -> None:
        self.jobs = JobStore(database, files, now, process)
        self.leases = LeaseStore(database, self.jobs, now)
        self.notices = Notices(database, process)
        self.history = HistoryStore(database, self.jobs)
        self.settings = SettingsStore(database, elsewhere)
        self.presets = GuildPresetStore(database, self.settings)
        self.own_presets = OwnPresetStore(database, self.settings)
        self.drafts = DraftStore(database, now)
        self.usage = UsageStore(database, now)
        self.grids = GridStore(database, now, process)
        self.approvals = ApprovalStore(database, now, process)
        self.statistics = StatisticsStore(database)
        self.personal = PersonalStore(database, files, self.jobs, self.settings, now)
        self.retention = RetentionStore(database, files, self.personal, now)
