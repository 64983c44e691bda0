"""Names of the NATS stream, its consumer and its subjects."""

STREAM = "BID_EVENTS"
EVENT_SUBJECTS = "bid.events.*"
ARCHIVE_CONSUMER = "archival-worker"
NO_PARTITION = "none"
"""Stands for the partition when an archive without any partition announces itself."""


SUPERSEDED = "superseded"
"""In place of a partition: what a Redis still held after another one was opened in its place."""


def events_subject(partition: str) -> str:
    """Batches of a partition's events, in the outbox's order."""
    return f"bid.events.{partition}"


def archived_subject(partition: str) -> str:
    """Core NATS: the archive's ``Watermark``, published at every commit and every second."""
    return f"bid.archived.{partition}"
