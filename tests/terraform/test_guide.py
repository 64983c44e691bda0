"""terraform/README.md agrees with the configuration, and its sums are right."""

import importlib.util
import re
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest

from pkg.runtime.emf import EMITTED
from tests.terraform.conftest import PROJECT, SOURCES, Outcome, Planned, Terraform

README = (SOURCES / "README.md").read_text()


def table(first_column: str) -> list[list[str]]:
    """The cells of the table whose header begins with this column."""
    lines = README.splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith(f"| {first_column} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip(" *`") for cell in line.strip("|").split("|")])
    return rows


TYPES = {
    "subnets, public and private": ["aws_subnet"],
    "NAT gateways": ["aws_nat_gateway"],
    "security groups": ["aws_security_group"],
    "rules between them, and to the world": [
        "aws_vpc_security_group_ingress_rule",
        "aws_vpc_security_group_egress_rule",
    ],
    "ECS services": ["aws_ecs_service"],
    "image repositories": ["aws_ecr_repository"],
    "secrets": ["aws_secretsmanager_secret"],
    "alarms": ["aws_cloudwatch_metric_alarm"],
}


def test_numbers_of_resources_agree_with_the_plan(planned: Planned) -> None:
    column = {"dev": 1, "prod": 2}[planned.environment]
    documented = {row[0]: int(row[column]) for row in table("what")}

    found = {what: sum(len(planned.after(kind)) for kind in kinds) for what, kinds in TYPES.items()}
    found["resources in all"] = len(planned.resources)
    found["tasks at first"] = sum(
        each["desired_count"] for each in planned.after("aws_ecs_service")
    )
    (redis,) = planned.after("aws_elasticache_replication_group")
    found["Redis nodes"] = redis["num_cache_clusters"]
    assert documented == found


MADE_BY_USERS = {
    *(".terraform.lock.hcl", "backend.tf", "tfplan"),
    *("terraform.tfvars", "terraform.tfvars.bak"),
}
"""Files that appear when somebody follows the README in this checkout."""


def test_file_table_lists_every_file() -> None:
    existing = {
        str(path.relative_to(SOURCES))
        for path in SOURCES.rglob("*")
        if path.is_file()
        and not path.name.endswith((".tfstate", ".tfstate.backup", ".tfplan"))
        and path.name not in MADE_BY_USERS
        and not {".terraform", "__pycache__"} & set(path.parts)
    }

    assert {row[0] for row in table("file")} == existing


def test_costs_are_price_times_quantity_and_add_up() -> None:
    *rows, total = table("line")
    cent = Decimal("0.01")

    for name, price, *cells in rows:
        for quantity, cost in (cells[:2], cells[2:]):
            product = (Decimal(price) * Decimal(quantity)).quantize(cent, ROUND_HALF_UP)
            assert abs(product - Decimal(cost)) <= cent, name
    for column in (3, 5):
        assert sum(Decimal(row[column]) for row in rows) == Decimal(total[column])


def test_quantities_in_the_costs_agree_with_the_plan(planned: Planned) -> None:
    hours = 730
    column = {"dev": 2, "prod": 4}[planned.environment]
    documented = {row[0]: float(row[column]) for row in table("line")[:-1]}

    assert documented["NAT gateway (an hour)"] == hours * len(planned.after("aws_nat_gateway"))
    assert documented["Secrets (a secret-month)"] == len(planned.after("aws_secretsmanager_secret"))
    # Target tracking makes two alarms per policy.
    tracking = 2 * len(planned.after("aws_appautoscaling_policy"))
    alarms = len(planned.after("aws_cloudwatch_metric_alarm"))
    line = "Alarms, with the two that each scaling policy makes (an alarm-month)"
    assert documented[line] == alarms + tracking
    (redis,) = planned.after("aws_elasticache_replication_group")
    nodes = documented[f"ElastiCache {redis['node_type']} (an hour)"]
    assert nodes == hours * redis["num_cache_clusters"]
    (postgres,) = planned.after("aws_db_instance")
    zones = "Multi-AZ" if postgres["multi_az"] else "one zone"
    assert documented[f"RDS {postgres['instance_class']}, {zones} (an hour)"] == hours
    assert documented[f"RDS storage gp3, {zones} (a GB-month)"] == postgres["allocated_storage"]
    assert documented["Metrics from the services' logs (a metric-month)"] == len(EMITTED)
    tasks = sum(each["desired_count"] for each in planned.after("aws_ecs_service"))
    fargate = sum(cost for name, cost in documented.items() if name.startswith("Fargate"))
    assert fargate == hours * tasks
    addresses = len(planned.after("aws_eip")) + len(planned.after("aws_subnet")) // 2
    assert documented["Public IPv4: load balancer and NAT (an address-hour)"] == hours * addresses


def test_documented_vcpu_quota_covers_a_rolling_deployment_at_full_scale(
    planned: Planned,
) -> None:
    if planned.environment != "prod":
        return
    ceilings = {
        each["resource_id"].rpartition("bidding-system-")[2]: each["max_capacity"]
        for each in planned.after("aws_appautoscaling_target")
    }
    units = {each["family"]: int(each["cpu"]) for each in planned.after("aws_ecs_task_definition")}
    wanted = 0
    for service in planned.after("aws_ecs_service"):
        name = service["name"].removeprefix("bidding-system-")
        tasks = ceilings.get(name, service["desired_count"])
        wanted += tasks * units[service["name"]] * service["deployment_maximum_percent"] // 100

    (quota,) = re.findall(r"quota of at least (\d+) Fargate vCPUs", README)
    assert int(quota) >= wanted / 1024


def test_picture_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("draw", SOURCES / "draw.py")
    assert spec
    assert spec.loader
    draw = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw)

    assert len(draw.flows()) == 11
    assert set(draw.groups()) == set(draw.KINDS)
    assert draw.PICTURE.read_text().rstrip().endswith(draw.mark()), "run terraform/draw.py"


def test_prod_overrides_every_setting_of_the_example_but_the_passwords() -> None:
    """Terraform also reads terraform.tfvars, a copy of the example."""
    names = re.compile(r"^(\w+) *=", re.MULTILINE)
    example, prod = (
        set(names.findall((SOURCES / file).read_text()))
        for file in ("terraform.tfvars.example", "prod.tfvars")
    )

    assert example - prod == {"db_password", "nats_password"}


def test_unedited_example_gives_one_error_about_the_passwords(
    terraform: Terraform,
) -> None:
    example = (SOURCES / "terraform.tfvars.example").read_text()

    tested = Outcome.by(
        terraform.copy("example", variables=example), "-filter=tests/always.tftest.hcl"
    )

    errors = [
        message["diagnostic"]["detail"]
        for message in tested.messages
        if message["type"] == "diagnostic" and message["@level"] == "error"
    ]
    assert len(errors) == 1
    assert errors[0].startswith("db_password and nats_password must be passwords of your own")


def test_example_is_dev_with_placeholder_passwords() -> None:
    def settings(name: str) -> set[str]:
        lines = (SOURCES / name).read_text().splitlines()
        return {line for line in lines if line and not line.startswith("#")}

    assert settings("terraform.tfvars.example") - settings("dev.tfvars") == {
        'db_password   = "CHANGE_ME"',
        'nats_password = "CHANGE_ME"',
    }
    assert settings("dev.tfvars") <= settings("terraform.tfvars.example")


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)[^)]*\)", README))
def test_links_lead_to_files(link: str) -> None:
    assert (SOURCES / link).resolve().is_relative_to(PROJECT)
    assert Path(SOURCES / link).exists()
