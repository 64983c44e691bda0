"""Every way that data takes through this system on AWS: how far it is the same on the emulator."""

from collections.abc import Mapping

from localstack.probes.row import ROTATED, WHOLE, Evidence, How, Row, cloud, plan, suite

FLOWS: Mapping[str, str] = {
    "alb-to-api": "load balancer: HTTP to tasks",
    "alb-to-broadcast": "load balancer: WebSocket",
    "api-to-redis": "Redis over TLS",
    "broadcast-to-redis": "Redis over TLS",
    "archival-to-redis": "Redis over TLS",
    "api-to-nats": "NATS by its Cloud Map name",
    "broadcast-to-nats": "NATS by its Cloud Map name",
    "archival-to-nats": "NATS by its Cloud Map name",
    "nats-to-nats": "NATS: three servers that know each other",
    "nats-to-efs": "JetStream's files on EFS",
    "archival-to-postgres": "PostgreSQL over TLS",
}
"""By the connection's name in terraform/security_groups.tf."""


def _proxy(test: str) -> tuple[Evidence, ...]:
    return (Evidence("tests/unit/localstack/load_balancer/test_proxy.py", test),)


PATHS: Mapping[str, Row] = {
    "load balancer: HTTP to tasks": Row(
        How.EMULATED,
        "in turn, with X-Forwarded-*",
        cloud("load_balancer", "test_address_works_and_tasks_learn_who_asked"),
    ),
    "load balancer: its `/health`": Row(
        How.EMULATED,
        "the tasks' own",
        cloud("load_balancer", "test_its_health_is_the_tasks_not_the_emulators"),
    ),
    "load balancer: WebSocket": Row(
        How.EMULATED,
        "both ways, closed after the idle time-out",
        (
            *cloud("load_balancer", "test_websocket_goes_both_ways"),
            *_proxy("test_silent_websocket_is_closed_after_the_idle_timeout"),
        ),
    ),
    "load balancer: paths and hidden paths": Row(
        How.EMULATED,
        "by rule and priority",
        cloud("load_balancer", "test_rules_are_followed_and_changed_ones_too"),
    ),
    "load balancer: cookie of viewers": Row(
        How.EMULATED,
        "a viewer stays with its task",
        _proxy("test_viewer_with_a_cookie_stays_with_its_target"),
    ),
    "load balancer: HTTPS": Row(
        How.STATIC,
        "the proxy has no certificate",
        plan(
            "edge",
            "Port 443 must forward to the API and use the certificate.",
            "TLS below 1.2 must be refused.",
        ),
    ),
    "load balancer: access logs": Row(
        How.AWS,
        "nobody writes them",
        plan(
            "edge",
            "The bucket's policy must only let load balancers write their logs, over TLS.",
        ),
    ),
    "target health": Row(
        How.EMULATED,
        "by real probes; requests go to healthy targets only",
        (
            *cloud("load_balancer", "test_target_is_healthy_only_while_it_answers_as_it_should"),
            *_proxy("test_target_that_fails_its_checks_gets_no_requests"),
        ),
    ),
    "draining targets": Row(
        How.EMULATED,
        "end what they have, until the delay is over",
        cloud(
            "load_balancer",
            "test_request_in_flight_ends_before_its_task_does",
            "test_viewer_is_told_to_go_when_the_delay_is_over",
        ),
    ),
    "roll-outs": Row(
        How.EMULATED,
        "wait for health; no request fails",
        cloud("services", "test_neither_a_roll_out_nor_a_stopped_task_fails_a_request"),
    ),
    "circuit breaker": Row(
        How.EMULATED,
        "a wrong image is rolled back",
        cloud(
            "services",
            "test_wrong_image_is_rolled_back_and_the_old_tasks_never_stop",
            "test_first_deployment_fails_without_an_image_and_the_next_one_succeeds",
        ),
    ),
    "tasks that end or are stopped": Row(
        How.EMULATED, "are replaced", cloud("services", "test_task_that_ends_is_replaced")
    ),
    "one NATS server at a time": Row(
        How.EMULATED,
        "the old one has ended before the new one starts",
        cloud("services", "test_single_service_never_has_two_tasks"),
    ),
    "health checks of containers": Row(
        How.EMULATED,
        "reported; a service waits for them",
        cloud("tasks", "test_health_of_the_container_is_reported"),
    ),
    "CPU, memory, user, capabilities, read-only files": Row(
        How.EMULATED,
        "CPU up to what the machine has",
        cloud("tasks", "test_entry_point_user_limits_and_privileges_are_those_of_the_definition"),
    ),
    "stopping: SIGTERM, then SIGKILL": Row(
        How.EMULATED,
        "after the stop time-out",
        cloud("tasks", "test_stopped_task_is_asked_to_end_and_killed_after_its_time_out"),
    ),
    "one-off tasks: audit, restore": Row(
        How.EMULATED,
        "with their command and exit code",
        (*cloud("tasks", "test_command_of_a_run_replaces_the_definitions"), *WHOLE),
    ),
    "logs of tasks": Row(
        How.EMULATED,
        "in CloudWatch Logs, a stream a task",
        cloud("tasks", "test_ended_task_keeps_its_exit_code_and_log_but_no_container"),
    ),
    "NATS by its Cloud Map name": Row(
        How.EMULATED,
        "follows the replaced task",
        cloud("tasks", "test_names_of_cloud_map_resolve_in_tasks_and_follow_replacements"),
    ),
    "NATS: users and JetStream": Row(
        How.EMULATED,
        "a wrong password is refused",
        suite(
            "nats_task",
            "test_nats_has_jetstream_and_refuses_wrong_passwords_whatever_becomes_of_entry_points",
        ),
    ),
    "NATS: three servers that know each other": Row(
        How.EMULATED,
        "see `nats_clustered` below",
        plan("tasks", "The servers of a cluster must know each other."),
    ),
    "JetStream's files on EFS": Row(
        How.EMULATED,
        "outlive tasks; encryption and IAM do not apply",
        (
            *cloud("tasks", "test_files_on_efs_outlive_tasks_and_go_with_the_file_system"),
            *plan(
                "tasks",
                "NATS must keep its files on EFS, with encryption in transit and IAM "
                "authorization.",
            ),
        ),
    ),
    "Redis over TLS": Row(
        How.EMULATED,
        "by an authority that each start makes anew",
        cloud("stores", "test_redis_is_encrypted_by_the_ca_that_the_emulator_hands_out"),
    ),
    "Redis: fail-over": Row(
        How.AWS,
        "there is no second server; process and compose kill and empty Redis",
        plan(
            "prod",
            "Redis must be cache.r6g.large with a replica, Multi-AZ and automatic fail-over.",
        ),
    ),
    "PostgreSQL over TLS": Row(How.EMULATED, "`sslmode=require`, without RDS' authority", WHOLE),
    "PostgreSQL: refuses connections without TLS": Row(
        How.STATIC,
        "the parameter group is not applied",
        plan("always", "PostgreSQL must refuse connections without TLS."),
    ),
    "PostgreSQL: standby, backups": Row(
        How.AWS,
        "there is no second server, and no backup is made",
        plan(
            "prod",
            "PostgreSQL must be db.r6g.large with 100 GiB, Multi-AZ, protected, "
            "with backups for two weeks.",
        ),
    ),
    "stores that do not start": Row(
        How.EMULATED,
        "an error, not an address where nothing listens",
        cloud(
            "stores",
            "test_database_without_a_container_has_failed",
            "test_redis_without_a_container_is_refused",
        ),
    ),
    "ECR: login, push, pull": Row(
        How.EMULATED,
        "over HTTP; images are not scanned",
        WHOLE,
    ),
    "secrets of tasks": Row(
        How.EMULATED,
        "without one, the task does not start",
        cloud("tasks", "test_missing_secret_stops_the_task_before_it_starts"),
    ),
    "rotation of passwords": Row(How.EMULATED, "the guide's own commands", ROTATED),
    "autoscaling": Row(
        How.EMULATED,
        "out and in, on requests and on CPU",
        cloud(
            "autoscaling",
            "test_service_behind_a_load_balancer_follows_the_requests_it_counts",
            "test_service_scales_out_to_its_limit_on_cpu",
        ),
    ),
    "metrics in logs (EMF), and alarms on them": Row(
        How.EMULATED,
        "by dimension, period and missing data",
        cloud(
            "alarms",
            "test_breaching_line_alarms_and_silence_ends_it",
            "test_another_services_lines_do_not_alarm",
        ),
    ),
    "alarms on AWS' own metrics": Row(
        How.STATIC,
        "only services and load balancers put metrics; stores and Container Insights do not",
        plan(
            "edge",
            "PostgreSQL's alarms must watch this instance.",
            "Every Redis node must have alarms: any may become the primary.",
        ),
    ),
    "notifications": Row(
        How.EMULATED,
        "alarms reach the topic; no mail is sent",
        cloud("alarms", "test_alarm_is_told_to_its_topic"),
    ),
    "security groups": Row(
        How.STATIC,
        "every container reaches every other",
        plan("wiring", "Only these flows may exist."),
    ),
    "subnets, routes, NAT gateways, flow logs": Row(
        How.STATIC,
        "one network of the Docker engine",
        plan(
            "wiring", "Private subnets must route to their zone's NAT gateway, or to the only one."
        ),
    ),
    "roles and permissions": Row(
        How.STATIC,
        "every key may do everything",
        suite(
            "deployer",
            "test_boundary_allows_exactly_what_the_roles_need",
            "test_deployer_can_start_tasks_only_in_this_system_s_cluster",
        ),
    ),
    "the WAF": Row(
        How.STATIC,
        "no request is counted or blocked",
        plan("edge", "The WAF must block known bad inputs, not only count them."),
    ),
    "quotas, prices, times to create": Row(
        How.AWS,
        "none of them is real here",
        suite("guide", "test_documented_vcpu_quota_covers_a_rolling_deployment_at_full_scale"),
    ),
}
