"""What recovery counts, and what it waits for."""

from dataclasses import dataclass


@dataclass
class RecoveryCounts:
    """Counts since the process started."""

    recoveries: int = 0
    put_back: int = 0
    refused: int = 0
    without_stream: int = 0
    superseded: bool = False
    other_system: bool = False
    waiting_for_restore: bool = False
    waiting_for_archive: bool = False

    def probe(self) -> str | None:
        """For ``Readiness.watch``."""
        if self.waiting_for_archive:
            return "waits for the archive"
        return "waits for restore" if self.waiting_for_restore else None
