"""The stream of bid events: its only definition, and its creation by the relay or the archive."""

from collections.abc import Sequence

from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, BadRequestError, NotFoundError

from pkg.auction.subjects import EVENT_SUBJECTS, STREAM
from pkg.runtime import logs
from pkg.runtime.settings.sections import NatsSettings
from pkg.stores.system import system_of

SETTINGS = ("subjects", "discard", "max_bytes", "max_age", "num_replicas")
"""What the relay corrects if a stream differs."""
NAME_IN_USE = 10058  # JetStream's code: another process has just created it with other settings

log = logs.get("stream")


def stream_config(settings: NatsSettings) -> StreamConfig:
    """No age: the relay removes what is archived, and only that (``EventStream.make_room``). No
    direct reads: a subject's last message must come from the stream's leader.
    """
    return StreamConfig(
        name=STREAM,
        subjects=[EVENT_SUBJECTS],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        max_bytes=settings.stream_max_bytes,
        max_age=0,
        num_replicas=settings.stream_replicas,
        allow_direct=False,
        duplicate_window=0,
    )


async def ensure_stream(
    jetstream: JetStreamContext, config: StreamConfig, *, correct: Sequence[str] = ()
) -> str | None:
    """Creates the stream if it is missing. The relay, and only the relay, names settings that are
    to be corrected if they differ.

    Returns the system that the stream belongs to; None if it is new, or named by none yet.

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
        return None
    differing = [name for name in correct if getattr(found, name) != getattr(config, name)]
    if differing:
        corrected = found.evolve(**{name: getattr(config, name) for name in differing})
        try:
            await jetstream.update_stream(corrected)
        except APIError as error:
            # For example more replicas than servers. The existing stream keeps working.
            log.warning("stream not updated", stream=STREAM, why=str(error))
        else:
            log.info("stream updated", stream=STREAM, settings=differing)
    return system_of(found)
