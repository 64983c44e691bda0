"""The guide leads from nothing to a system that takes bids."""

import re
from collections.abc import Callable

import pytest

from tests.integration.cloud.deployment import Deployment
from tests.integration.cloud.guide import AUDIT, AUDITED, INSTEAD, LEFT_OUT, TEXT, blocks

pytestmark = pytest.mark.timeout(1500)  # whichever is the first deploys


def test_tables_name_only_what_the_guide_has() -> None:
    for begin in LEFT_OUT:
        assert [one for one in blocks() if one.startswith(begin)], begin
    for pattern in INSTEAD:
        assert re.search(pattern, TEXT), pattern


def test_guide_leads_from_nothing_to_a_bid(
    deployment: Deployment, record_testsuite_property: Callable[[str, object], None]
) -> None:
    guide = deployment.guide
    record_testsuite_property("terraform_apply_s", guide.seconds("terraform apply tfplan"))

    assert "Apply complete!" in guide.block("terraform apply tfplan")
    stable = guide.block("aws ecs wait services-stable")
    # `wait` goes by the tasks that run; a deployment may be called completed a moment later.
    assert len(re.findall("COMPLETED|IN_PROGRESS", stable)) == len(
        ("nats", "api", "broadcast", "archival")
    )
    assert guide.block(AUDIT).startswith(AUDITED)
    tested = guide.block("ALB_URL=$(terraform output")
    assert '"success":true' in tested
    assert '"current_bid":100.00' in tested
    assert '"type":"connected"' in tested


def test_nothing_was_pushed_to_aws(deployment: Deployment) -> None:
    said = "".join(deployment.guide.said.values())
    pushed = re.findall(r"docker push (\S+)|docker login.* (\S+)", said)

    assert pushed
    assert [names for names in pushed if "amazonaws.com" in "".join(names)] == []
