"""Names of the NATS stream, its consumer and its subjects."""

STREAM = "BID_EVENTS"
EVENT_SUBJECTS = "bid.events.*"
ARCHIVE_CONSUMER = "archival-worker"
NO_PARTITION = "none"
"""In place of a partition, an archive that holds nothing of any announces itself."""


def events_subject(partition: str) -> str:
    """Batches of a partition's events, in the outbox's order."""
    return f"bid.events.{partition}"


def archived_subject(partition: str) -> str:
    """Core subject: how far the archive is (a ``Watermark``), told at commits and each second."""
    return f"bid.archived.{partition}"
