"""A green apply is not believed: its endpoints are looked at."""

from typing import Any

import msgspec
import pytest

from pkg.devkit.cloud.endpoints import WrongEndpoint, check
from pkg.devkit.cloud.place import Place
from tests.unit.devkit.cloud.fake_aws import OUTPUTS, FakeAws

EMULATED = Place(endpoint="http://127.0.0.1:4566")
ON_AWS = {
    "alb_url": "http://bidding-1.us-east-1.elb.amazonaws.com",
    "rds_endpoint": "bidding-system.abc.us-east-1.rds.amazonaws.com",
    "redis_endpoint": "master.bidding-system.abc.use1.cache.amazonaws.com",
    "ecr_api_gateway_url": "123456789012.dkr.ecr.us-east-1.amazonaws.com/bidding-system/api",
}


def with_changes(**changes: Any) -> Any:  # noqa: ANN401
    return msgspec.structs.replace(OUTPUTS, **changes)


def test_right_endpoints_pass() -> None:
    check(EMULATED, OUTPUTS, FakeAws())
    check(Place(), with_changes(**ON_AWS), FakeAws())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"rds_endpoint": "localhost", "rds_port": 15432}, "PostgreSQL is at 'localhost'"),
        ({"rds_port": 15432}, "PostgreSQL's port is 15432, not 5432"),
        ({"rds_endpoint": ""}, "PostgreSQL is at ''"),
        ({"redis_endpoint": "localhost"}, "Redis is at 'localhost'"),
        ({"redis_endpoint": "127.0.0.1"}, "Redis is at '127.0.0.1'"),
        ({"alb_url": "http://bidding.alb.localhost:4566"}, "load balancer is at .*, not on this"),
        ({"ecr_api_gateway_url": ON_AWS["ecr_api_gateway_url"]}, "images would be pushed to 1234"),
    ],
)
def test_emulators_fallback_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(WrongEndpoint, match=sentence):
        check(EMULATED, with_changes(**change), FakeAws())


@pytest.mark.parametrize(
    "change", [{"rds_endpoint": "elsewhere"}, {"alb_url": "http://localhost:32801"}]
)
def test_on_aws_an_endpoint_of_an_emulator_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(WrongEndpoint):
        check(Place(), with_changes(**(ON_AWS | change)), FakeAws())


def test_store_that_has_failed_is_refused() -> None:
    aws = FakeAws()
    answer: Any = aws.answers["describe_db_instances"]
    answer["DBInstances"][0]["DBInstanceStatus"] = "failed"

    with pytest.raises(WrongEndpoint, match="PostgreSQL is failed"):
        check(EMULATED, OUTPUTS, aws)
