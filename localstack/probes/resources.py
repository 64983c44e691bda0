"""Every type of resource in terraform/: what it does on the emulator."""

from collections.abc import Mapping

from localstack.probes.row import ROTATED, WHOLE, How, Row, cloud, plan, suite

_EMPTY_PLAN = cloud("second_plan", "test_second_plan_shows_the_known_differences_and_no_other")
_NETWORK = "described, but containers share one network without subnets, routes and gateways"
_ROLES = "described, but the emulator asks nobody for permission"

RESOURCES: Mapping[str, Row] = {
    "aws_appautoscaling_policy": Row(
        How.EMULATED,
        "targets of CPU and of requests are followed out and in",
        cloud("autoscaling", "test_service_follows_requests_per_target_out_and_in"),
    ),
    "aws_appautoscaling_target": Row(
        How.EMULATED,
        "its limits hold",
        cloud("autoscaling", "test_count_outside_the_limits_is_moved_to_them_without_a_policy"),
    ),
    "aws_cloudwatch_dashboard": Row(
        How.STATIC,
        "described, drawn by nobody",
        suite(
            "alarms_and_metrics",
            "test_dashboard_shows_every_emitted_metric_in_cloudwatch_s_format",
        ),
    ),
    "aws_cloudwatch_log_group": Row(
        How.EMULATED,
        "holds the tasks' logs; they do not expire",
        cloud("tasks", "test_ended_task_keeps_its_exit_code_and_log_but_no_container"),
    ),
    "aws_cloudwatch_metric_alarm": Row(
        How.EMULATED,
        "judged by what the services log; RDS, ElastiCache and EFS report no metrics here",
        cloud("alarms", "test_breaching_line_alarms_and_silence_ends_it"),
    ),
    "aws_db_instance": Row(
        How.EMULATED,
        "a PostgreSQL in a container",
        WHOLE,
    ),
    "aws_db_parameter_group": Row(
        How.STATIC,
        "described, not given to PostgreSQL, which would accept connections without TLS",
        plan("always", "PostgreSQL must refuse connections without TLS."),
    ),
    "aws_db_subnet_group": Row(
        How.STATIC, _NETWORK, plan("wiring", "Stores must be in all private subnets.")
    ),
    "aws_default_security_group": Row(
        How.STATIC, "described, not enforced", plan("wiring", "Only these flows may exist.")
    ),
    "aws_ecr_lifecycle_policy": Row(
        How.STATIC,
        "described; no image expires",
        plan("always", "An image that may be in use must not expire."),
    ),
    "aws_ecr_repository": Row(
        How.EMULATED,
        "images are pushed to it and pulled from it",
        WHOLE,
    ),
    "aws_ecs_cluster": Row(
        How.EMULATED,
        "runs tasks; Container Insights reports nothing",
        WHOLE,
    ),
    "aws_ecs_service": Row(
        How.EMULATED,
        "rolls by health, replaces tasks, rolls a failure back; zones are not balanced",
        cloud(
            "services",
            "test_neither_a_roll_out_nor_a_stopped_task_fails_a_request",
            "test_wrong_image_is_rolled_back_and_the_old_tasks_never_stop",
        ),
    ),
    "aws_ecs_task_definition": Row(
        How.EMULATED,
        "entry point, user, limits, secrets, volumes, health check and stop time-out hold",
        cloud(
            "tasks",
            "test_entry_point_user_limits_and_privileges_are_those_of_the_definition",
            "test_health_of_the_container_is_reported",
        ),
    ),
    "aws_efs_access_point": Row(
        How.EMULATED,
        "its folder and owner hold",
        cloud("tasks", "test_files_on_efs_outlive_tasks_and_go_with_the_file_system"),
    ),
    "aws_efs_backup_policy": Row(How.AWS, "described; no backup is made", _EMPTY_PLAN),
    "aws_efs_file_system": Row(
        How.EMULATED,
        "a volume that outlives tasks",
        cloud("tasks", "test_files_on_efs_outlive_tasks_and_go_with_the_file_system"),
    ),
    "aws_efs_file_system_policy": Row(
        How.STATIC,
        "described, not enforced",
        plan(
            "tasks",
            "The file system's policy must only deny unencrypted access: "
            "an allow would apply to everybody.",
        ),
    ),
    "aws_efs_mount_target": Row(
        How.STATIC, _NETWORK, plan("wiring", "Each store must be in its own security group.")
    ),
    "aws_eip": Row(How.STATIC, _NETWORK, plan("wiring", "NAT gateways must be in public subnets.")),
    "aws_elasticache_parameter_group": Row(
        How.STATIC,
        "described, not given to Redis",
        plan("always", "Redis must never evict."),
    ),
    "aws_elasticache_replication_group": Row(
        How.EMULATED,
        "one Redis in a container, with TLS and token",
        cloud("stores", "test_redis_is_encrypted_by_the_ca_that_the_emulator_hands_out"),
    ),
    "aws_elasticache_subnet_group": Row(
        How.STATIC, _NETWORK, plan("wiring", "Stores must be in all private subnets.")
    ),
    "aws_flow_log": Row(
        How.STATIC,
        "described; nothing is recorded",
        plan("always", "Flow logs must record all traffic."),
    ),
    "aws_iam_role": Row(
        How.STATIC,
        _ROLES,
        plan("tasks", "Only ECS, and only for this account, may assume the tasks' roles."),
    ),
    "aws_iam_role_policy": Row(
        How.STATIC,
        _ROLES,
        (
            *plan("always", "Roles must have least privilege."),
            *suite("deployer", "test_boundary_allows_exactly_what_the_roles_need"),
        ),
    ),
    "aws_internet_gateway": Row(
        How.STATIC, _NETWORK, plan("wiring", "Public subnets must route to the internet gateway.")
    ),
    "aws_lb": Row(
        How.EMULATED,
        "a proxy in a container, at a port of loopback",
        cloud("load_balancer", "test_address_works_and_tasks_learn_who_asked"),
    ),
    "aws_lb_listener": Row(
        How.EMULATED,
        "HTTP; for HTTPS see the paths below",
        cloud("load_balancer", "test_address_works_and_tasks_learn_who_asked"),
    ),
    "aws_lb_listener_rule": Row(
        How.EMULATED,
        "chosen by path and priority",
        cloud("load_balancer", "test_rules_are_followed_and_changed_ones_too"),
    ),
    "aws_lb_target_group": Row(
        How.EMULATED,
        "targets are probed, drained and sticky",
        cloud(
            "load_balancer",
            "test_target_is_healthy_only_while_it_answers_as_it_should",
            "test_request_in_flight_ends_before_its_task_does",
        ),
    ),
    "aws_nat_gateway": Row(
        How.STATIC,
        _NETWORK,
        plan(
            "wiring", "Private subnets must route to their zone's NAT gateway, or to the only one."
        ),
    ),
    "aws_route": Row(
        How.STATIC,
        _NETWORK,
        plan(
            "wiring", "Private subnets must route to their zone's NAT gateway, or to the only one."
        ),
    ),
    "aws_route_table": Row(
        How.STATIC, _NETWORK, plan("wiring", "Public subnets must route to the internet gateway.")
    ),
    "aws_route_table_association": Row(
        How.STATIC, _NETWORK, plan("wiring", "Public subnets must route to the internet gateway.")
    ),
    "aws_s3_bucket": Row(
        How.STATIC,
        "is there and keeps objects, but nobody writes access logs to it",
        plan(
            "edge",
            "Access logs must be encrypted with AES256, the only kind that load balancers support.",
        ),
    ),
    "aws_s3_bucket_lifecycle_configuration": Row(
        How.STATIC,
        "described; nothing expires",
        plan("edge", "Access logs must expire like other logs."),
    ),
    "aws_s3_bucket_policy": Row(
        How.STATIC,
        "described, not enforced",
        plan(
            "edge", "The bucket's policy must only let load balancers write their logs, over TLS."
        ),
    ),
    "aws_s3_bucket_public_access_block": Row(
        How.STATIC, "described, not enforced", plan("edge", "The access logs must not be public.")
    ),
    "aws_s3_bucket_server_side_encryption_configuration": Row(
        How.STATIC,
        "described; nothing is encrypted",
        plan(
            "edge",
            "Access logs must be encrypted with AES256, the only kind that load balancers support.",
        ),
    ),
    "aws_secretsmanager_secret": Row(
        How.EMULATED,
        "tasks are given it, or do not start",
        cloud("tasks", "test_missing_secret_stops_the_task_before_it_starts"),
    ),
    "aws_secretsmanager_secret_version": Row(
        How.EMULATED,
        "sent when its version rises",
        ROTATED,
    ),
    "aws_security_group": Row(
        How.STATIC, "described, not enforced", plan("wiring", "Only these flows may exist.")
    ),
    "aws_service_discovery_private_dns_namespace": Row(
        How.EMULATED,
        "its names resolve in tasks",
        cloud("tasks", "test_names_of_cloud_map_resolve_in_tasks_and_follow_replacements"),
    ),
    "aws_service_discovery_service": Row(
        How.EMULATED,
        "follows replaced tasks",
        cloud("tasks", "test_names_of_cloud_map_resolve_in_tasks_and_follow_replacements"),
    ),
    "aws_sns_topic": Row(
        How.EMULATED,
        "alarms are told to it",
        cloud("alarms", "test_alarm_is_told_to_its_topic"),
    ),
    "aws_sns_topic_subscription": Row(
        How.STATIC,
        "only with `alarm_email`, which neither size sets; no mail is sent",
        plan("edge", "Alarms must be emailed to alarm_email."),
    ),
    "aws_subnet": Row(
        How.STATIC,
        _NETWORK,
        plan("wiring", "Each zone must have its own subnets, without overlapping addresses."),
    ),
    "aws_vpc": Row(
        How.STATIC,
        _NETWORK,
        plan("always", "There must be public and private subnets in at least two zones."),
    ),
    "aws_vpc_endpoint": Row(
        How.STATIC,
        _NETWORK,
        plan("wiring", "Every private subnet must use the S3 endpoint for image layers."),
    ),
    "aws_vpc_security_group_egress_rule": Row(
        How.STATIC,
        "described, not enforced",
        plan("wiring", "Tasks, but not stores or the load balancer, may reach AWS' APIs."),
    ),
    "aws_vpc_security_group_ingress_rule": Row(
        How.STATIC,
        "described, not enforced",
        plan("always", "Only the load balancer's listeners may be open to the world."),
    ),
    "aws_wafv2_web_acl": Row(
        How.STATIC,
        "described; no request is counted or blocked",
        plan("edge", "The WAF must block only addresses above waf_requests_per_5_min."),
    ),
    "aws_wafv2_web_acl_association": Row(
        How.STATIC, "described", plan("edge", "The WAF must be attached to the load balancer.")
    ),
}
