"""Names of the NATS stream, its consumer and its subjects."""

STREAM = "BID_EVENTS"
EVENT_SUBJECTS = "bid.events.*"
ARCHIVE_CONSUMER = "archival-worker"
NO_PARTITION = "none"
"""In place of a partition, where an archive announces itself."""


SUPERSEDED = "superseded"
"""In place of a partition: what a Redis still held after another one was opened in its place."""


def events_subject(partition: str) -> str:
    """Batches of a partition's events, in the outbox's order."""
    return f"bid.events.{partition}"


def archived_subject(partition: str) -> str:
    """Core NATS: the archive's ``Watermark``, published at every commit and every second; of
    NO_PARTITION its ``ArchiveState``.
    """
    return f"bid.archived.{partition}"


ITEMS_ASKED = "bid.items.ask"
"""Core NATS, request and reply: items as the archive has them (``pkg.auction.asking``)."""
