"""What MiniStack forgets between a Create and a Describe is put into its answers.

Stands before MiniStack and sees only what every client of AWS sees: requests and answers. Each file
closes one gap that would otherwise show in a second plan, and can go when that plan is empty
without it.
"""

from localstack.emulator.describe import (
    cache_parameters,
    database_log_exports,
    endpoint_policy,
    file_system_policy,
    flow_logs,
    zone_rebalancing,
)
from localstack.emulator.describe.amending import Amending, Amendment
from localstack.emulator.serving import Emulator

AMENDMENTS: tuple[type[Amendment], ...] = (
    cache_parameters.CacheParameters,
    database_log_exports.DatabaseLogExports,
    endpoint_policy.EndpointPolicy,
    file_system_policy.FileSystemPolicy,
    flow_logs.FlowLogs,
    zone_rebalancing.ZoneRebalancing,
)


def install(emulator: Emulator) -> None:
    amendments = [each() for each in AMENDMENTS]
    emulator.wrap(lambda app: Amending(app, amendments))
