"""What NATS' users may do (terraform/nats/users.conf), found out by trying on a real server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
import nats.errors
import pytest
from nats.aio.client import Client

from pkg.auction.subjects import ARCHIVE_CONSUMER, EVENT_SUBJECTS, ITEMS_ASKED, STREAM
from pkg.devkit.names import API, ARCHIVAL, BROADCAST
from pkg.devkit.nats_users import ADMINISTRATOR, RESTORE, USERS
from tests.integration.providers import Stores

EVENTS, ARCHIVED = "bid.events.p00", "bid.archived.p00"
INFO, MAKE, CHANGE, READ, PURGE = (
    f"$JS.API.STREAM.{verb}.{STREAM}" for verb in ("INFO", "CREATE", "UPDATE", "MSG.GET", "PURGE")
)
LOOK, CONSUMER, PULL = (
    f"$JS.API.CONSUMER.{verb}.{STREAM}.{ARCHIVE_CONSUMER}"
    for verb in ("INFO", "DURABLE.CREATE", "MSG.NEXT")
)
ACKNOWLEDGE = f"$JS.ACK.{STREAM}.{ARCHIVE_CONSUMER}.1.1.1.1.0"
FOR_NOBODY = {
    "bid.other.p00",
    f"$JS.API.STREAM.DELETE.{STREAM}",
    f"$JS.API.STREAM.MSG.DELETE.{STREAM}",
    f"$JS.API.STREAM.SNAPSHOT.{STREAM}",
    f"$JS.API.DIRECT.GET.{STREAM}",
    "$JS.API.STREAM.CREATE.OTHER",
    "$JS.API.STREAM.NAMES",
    "$JS.API.INFO",
    f"$JS.API.CONSUMER.CREATE.{STREAM}",
    f"$JS.API.CONSUMER.CREATE.{STREAM}.{ARCHIVE_CONSUMER}",
    f"$JS.API.CONSUMER.DURABLE.CREATE.{STREAM}.mine",
    f"$JS.API.CONSUMER.DELETE.{STREAM}.{ARCHIVE_CONSUMER}",
    f"$JS.ACK.{STREAM}.mine.1.1.1.1.0",
    "$SYS.REQ.SERVER.PING",
    *(f"_INBOX.{user}.x" for user in USERS),
}
MAY_PUBLISH = {
    API: {EVENTS, INFO, MAKE, CHANGE, READ, PURGE, LOOK, ITEMS_ASKED},
    BROADCAST: {INFO, MAKE, ITEMS_ASKED},
    ARCHIVAL: {ARCHIVED, INFO, MAKE, LOOK, CONSUMER, PULL, ACKNOWLEDGE},
    RESTORE: {EVENTS, INFO, READ},
}
MAY_SUBSCRIBE = {
    API: {"bid.archived.*"},
    BROADCAST: {EVENT_SUBJECTS},
    ARCHIVAL: {ITEMS_ASKED},
    RESTORE: set[str](),
}
NEVER_SUBSCRIBED = {">", "bid.>", "_INBOX.>", "_INBOX.*.>", "$JS.>", "$SYS.>", "$KV.>"}
SERVICES = sorted(MAY_PUBLISH)
TRIES = 4
"""nats-py reconnects if it reads half a refusal, and so loses it."""


@asynccontextmanager
async def connected(stores: Stores, user: str) -> AsyncIterator[tuple[Client, list[str]]]:
    """A client, and what the server refused it."""
    refused: list[str] = []

    async def note(error: Exception) -> None:
        refused.append(str(error))

    client = await nats.connect(
        stores.nats_users.url_of(user, int(stores.nats_url.rpartition(":")[2])), error_cb=note
    )
    try:
        yield client, refused
    finally:
        await client.close()


@pytest.mark.parametrize("user", SERVICES)
async def test_service_publishes_what_it_needs_and_nothing_else(stores: Stores, user: str) -> None:
    subjects = FOR_NOBODY.union(*MAY_PUBLISH.values())

    async with connected(stores, user) as (client, refused):
        for subject in sorted(subjects) * TRIES:
            await client.publish(subject, b"")
            await client.flush()

    complaints = "\n".join(refused).lower()
    allowed = {each for each in subjects if f'publish to "{each.lower()}"' not in complaints}
    assert allowed == MAY_PUBLISH[user]


@pytest.mark.parametrize("user", SERVICES)
async def test_service_hears_what_it_needs_and_nobody_else_s_answers(
    stores: Stores, user: str
) -> None:
    inboxes = {f"_INBOX.{each}.>" for each in USERS}
    subjects = NEVER_SUBSCRIBED.union(inboxes, *MAY_SUBSCRIBE.values())

    async with connected(stores, user) as (client, refused):
        for subject in sorted(subjects) * TRIES:
            await client.subscribe(subject)
            await client.flush()

    complaints = "\n".join(refused).lower()
    allowed = {each for each in subjects if f'subscription to "{each}"'.lower() not in complaints}
    assert allowed == MAY_SUBSCRIBE[user] | {f"_INBOX.{user}.>"}


async def test_refused_message_reaches_neither_the_stream_nor_a_listener(stores: Stores) -> None:
    async with connected(stores, ADMINISTRATOR) as (administrator, _):
        jetstream = administrator.jetstream()
        await jetstream.add_stream(name=STREAM, subjects=[EVENT_SUBJECTS])
        heard = await administrator.subscribe("bid.>")
        async with (
            connected(stores, API) as (api, _),
            connected(stores, BROADCAST) as (broadcast, _),
            connected(stores, ARCHIVAL) as (archival, _),
        ):
            await api.publish(ARCHIVED, b"forged")
            await broadcast.publish(EVENTS, b"forged")
            await archival.publish(EVENTS, b"forged")
            for client in (api, broadcast, archival):
                await client.flush()
            await api.publish(EVENTS, b"genuine")
            await api.flush()

        message = await heard.next_msg(timeout=5)
        assert message.data == b"genuine"
        assert (await jetstream.stream_info(STREAM)).state.messages == 1


@pytest.mark.parametrize("credentials", ["", "bidding:guessed@", "api-gateway:guessed@"])
async def test_whoever_has_no_password_is_refused(stores: Stores, credentials: str) -> None:
    url = f"nats://{credentials}{stores.nats_url.rpartition('@')[2]}"
    client = Client()

    with pytest.raises(nats.errors.Error, match=r"(?i)authorization violation"):
        await client.connect(url, allow_reconnect=False)

    await client.close()
