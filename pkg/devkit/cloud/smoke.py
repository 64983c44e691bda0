"""A bid through the load balancer, and its event at a viewer who came before it."""

import asyncio
import json
import time
from uuid import uuid4

from pkg.devkit.bidding import place_bid, watch
from pkg.devkit.errors import BidkitError, NotReady
from pkg.devkit.signals import Check

WITHIN_S = 120.0
_EVENT_WITHIN_S = 15.0
_TRY_EVERY_S = 1.0
_BIDDER = "smoke-test"


def smoke_test(api_url: str, websocket_url: str, *, check: Check) -> float:
    """Seconds from the bid to its event. Raises NotReady.

    Tried again for a while, as a load balancer takes time to find new tasks healthy.
    """
    deadline = time.monotonic() + WITHIN_S
    while True:
        check()
        try:
            return asyncio.run(_journey(api_url, websocket_url))
        except (BidkitError, TimeoutError) as error:
            why = str(error) or f"no event in {_EVENT_WITHIN_S:g} s"
            if time.monotonic() > deadline:
                raise NotReady(f"the smoke test fails: {why.removesuffix('.')}.") from error
        time.sleep(_TRY_EVERY_S)


async def _journey(api_url: str, websocket_url: str) -> float:
    # An item of its own: nobody else's bids are in the way.
    item = f"smoke-{uuid4().hex[:12]}"
    seen: asyncio.Queue[str] = asyncio.Queue()
    viewer = asyncio.create_task(
        watch(websocket_url, item, latest=False, show=seen.put_nowait, notice=lambda _: None)
    )
    arrived = asyncio.create_task(seen.get())
    try:
        async with asyncio.timeout(_EVENT_WITHIN_S):
            # The first message shows the item as it was when the viewer came.
            await asyncio.wait((viewer, arrived), return_when=asyncio.FIRST_COMPLETED)
            if viewer.done():
                viewer.result()
            began = time.monotonic()
            outcome = await asyncio.to_thread(place_bid, api_url, item, "1.00", user=_BIDDER)
            if not outcome.accepted:
                raise BidkitError(f"the bid was refused: {outcome.message}")
            while not _is_the_bid(await seen.get()):
                pass
        return time.monotonic() - began
    finally:
        for task in (viewer, arrived):
            task.cancel()
        await asyncio.gather(viewer, arrived, return_exceptions=True)


def _is_the_bid(text: str) -> bool:
    message = json.loads(text)
    return "type" not in message and message.get("user_id") == _BIDDER
