"""The stream of bid events: its only definition, and its creation by the relay or the archive."""

from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, BadRequestError, NotFoundError

from pkg.auction.subjects import EVENT_SUBJECTS, STREAM
from pkg.runtime import logs
from pkg.runtime.settings.sections import NatsSettings

MAX_AGE_S = 24 * 3600
NAME_IN_USE = 10058  # JetStream's code: another process has just created it with other settings

log = logs.get("stream")


def stream_config(settings: NatsSettings) -> StreamConfig:
    """No direct reads: a subject's last message must come from the stream's leader."""
    return StreamConfig(
        name=STREAM,
        subjects=[EVENT_SUBJECTS],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        max_bytes=settings.stream_max_bytes,
        max_age=MAX_AGE_S,
        num_replicas=settings.stream_replicas,
        allow_direct=False,
        duplicate_window=0,
    )


async def ensure_stream(
    jetstream: JetStreamContext, config: StreamConfig, *, update: bool = False
) -> None:
    """Creates the stream if it is missing. Only the relay updates one that differs.

    Raises:
        nats.errors.Error: NATS is away, or refuses the definition.
    """
    try:
        found = (await jetstream.stream_info(STREAM)).config
    except NotFoundError:
        try:
            await jetstream.add_stream(config)
            log.info("stream made", stream=STREAM)
        except BadRequestError as error:
            if error.err_code != NAME_IN_USE:
                raise
        return
    if update and any(
        getattr(found, name) != getattr(config, name)
        for name in ("subjects", "discard", "max_bytes", "max_age", "num_replicas")
    ):
        try:
            await jetstream.update_stream(config)
        except APIError as error:
            # For example more replicas than servers. The existing stream keeps working.
            log.warning("stream not updated", stream=STREAM, why=str(error))
        else:
            log.info("stream updated", stream=STREAM)
