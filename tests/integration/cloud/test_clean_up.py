"""The rest of the guide, after all other tests: a new password, and back to nothing."""

import json
from collections.abc import Callable
from urllib.request import Request, urlopen

import asyncpg
import pytest

from pkg.trials.waiting import until
from tests.integration.cloud.deployment import Deployment
from tests.integration.cloud.guide import ROTATION

pytestmark = pytest.mark.timeout(1500)


async def test_rotated_password_reaches_the_worker_when_it_is_rolled(
    deployment: Deployment,
) -> None:
    earlier = deployment.postgres_url

    deployment.guide.rotation()
    services = deployment.services
    services.wait(["bidding-system-archival-worker"], say=lambda _: None, within_s=240)
    event = _bid(f"http://localhost:{deployment.port}", "rotated")

    assert "Apply complete!" in deployment.guide.block(ROTATION)
    assert deployment.postgres_url != earlier
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(earlier)
    postgres = await asyncpg.connect(deployment.postgres_url)
    try:
        await until(
            lambda: postgres.fetchval("SELECT 1 FROM bids WHERE event_id = $1", event),
            within_s=60,
            every_s=0.2,
            what="the rolled worker archives",
        )
    finally:
        await postgres.close()


def _bid(api_url: str, item: str) -> str:
    body = json.dumps({"user_id": "ann", "amount": 1}).encode()
    with urlopen(Request(f"{api_url}/api/v1/items/{item}/bid", body), timeout=20) as answer:  # noqa: S310
        event: str = json.load(answer)["event_id"]
        return event


async def test_guide_leads_back_to_nothing(
    deployment: Deployment, record_testsuite_property: Callable[[str, object], None]
) -> None:
    emulator = deployment.emulator

    deployment.guide.clean_up()
    record_testsuite_property("terraform_destroy_s", deployment.guide.seconds("terraform destroy"))

    assert "Destroy complete!" in deployment.guide.block("terraform destroy")
    assert deployment.state() == []
    assert deployment.tagged() == []
    assert emulator.client("ecs").list_clusters()["clusterArns"] == []
    await until(
        lambda: not emulator.containers(),
        within_s=60,
        every_s=0.5,
        what="every container of the emulator is gone",
        log=emulator.containers_shown,
    )
