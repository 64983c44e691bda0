# Rules for both dev and prod, planned on a mocked AWS. `terraform test` takes dev's variables from the
# *.auto.tfvars beside this file; tests/terraform also takes prod's.
mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

run "plan" {
  command = plan

  override_resource {
    target          = aws_security_group.this["alb"]
    override_during = plan
    values          = { id = "sg-alb" }
  }

  # Names

  assert {
    condition     = aws_ecs_cluster.this.name == "bidding-system-cluster"
    error_message = "The cluster must be bidding-system-cluster."
  }

  assert {
    condition     = toset([for service in module.service : service.service_name]) == toset(["bidding-system-api-gateway", "bidding-system-broadcast-service", "bidding-system-archival-worker"])
    error_message = "Scripts rely on the services' names."
  }

  assert {
    condition     = alltrue([for node, service in module.nats : service.service_name == "bidding-system-${node}" && startswith(node, "nats")])
    error_message = "NATS must be bidding-system-nats, or bidding-system-nats-1 to -3."
  }

  assert {
    condition     = toset([for service in merge(module.service, module.nats) : service.log_group_name]) == toset([for name in concat(keys(module.service), keys(module.nats)) : "/ecs/bidding-system/${name}"])
    error_message = "Each service must have its own log group, /ecs/bidding-system/<service>."
  }

  assert {
    condition     = toset([for repository in aws_ecr_repository.this : repository.name]) == toset(["bidding-system/api-gateway", "bidding-system/broadcast-service", "bidding-system/archival-worker", "bidding-system/load-generator"])
    error_message = "The repositories must be bidding-system/<service> and bidding-system/load-generator."
  }

  assert {
    condition     = aws_db_instance.this.db_name == "bidding" && aws_db_instance.this.username == "bidding"
    error_message = "The database and its user must be named bidding."
  }

  assert {
    condition     = aws_service_discovery_private_dns_namespace.this.name == "bidding-system.local"
    error_message = "The namespace must be bidding-system.local."
  }

  assert {
    condition     = local.tags == { Project = "bidding-system", Environment = var.environment, ManagedBy = "terraform" }
    error_message = "Every resource must have the tags Project, Environment and ManagedBy."
  }

  # Network

  assert {
    condition     = alltrue([for text in concat(values(aws_security_group.this)[*].description, values(aws_vpc_security_group_ingress_rule.flow)[*].description, values(aws_vpc_security_group_ingress_rule.world)[*].description, values(aws_vpc_security_group_egress_rule.flow)[*].description, values(aws_vpc_security_group_egress_rule.aws)[*].description) : can(regex("^[0-9A-Za-z_ .:/()#,@\\[\\]+=&;{}!$*-]{1,255}$", text))])
    error_message = "EC2 refuses descriptions with other characters, such as an apostrophe."
  }

  assert {
    condition     = length(aws_subnet.public) >= 2 && length(aws_subnet.private) >= 2
    error_message = "There must be public and private subnets in at least two zones."
  }

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.world : rule.security_group_id == "sg-alb"]) && toset([for rule in aws_vpc_security_group_ingress_rule.world : rule.from_port]) == toset(var.certificate_arn == null ? [80] : [80, 443])
    error_message = "Only the load balancer's listeners may be open to the world."
  }

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.flow : rule.cidr_ipv4 == null && rule.cidr_ipv6 == null && rule.from_port == rule.to_port])
    error_message = "An ingress rule between groups must name a group and one port, not addresses or a range."
  }

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_egress_rule.flow : rule.cidr_ipv4 == null && rule.cidr_ipv6 == null && rule.from_port == rule.to_port])
    error_message = "An egress rule between groups must name a group and one port, not addresses or a range."
  }

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_egress_rule.aws : rule.from_port == 443 && rule.to_port == 443])
    error_message = "Tasks may leave the VPC only over HTTPS, for AWS' APIs."
  }

  assert {
    condition     = aws_flow_log.this.traffic_type == "ALL"
    error_message = "Flow logs must record all traffic."
  }

  # Stores

  assert {
    condition     = aws_elasticache_replication_group.this.at_rest_encryption_enabled == "true" && aws_elasticache_replication_group.this.transit_encryption_enabled
    error_message = "Redis must be encrypted at rest and in transit."
  }

  assert {
    condition     = anytrue([for parameter in aws_elasticache_parameter_group.this.parameter : parameter.name == "maxmemory-policy" && parameter.value == "noeviction"])
    error_message = "Redis must never evict."
  }

  assert {
    condition     = aws_db_instance.this.engine == "postgres" && aws_db_instance.this.engine_version == "15" && aws_db_instance.this.storage_type == "gp3"
    error_message = "PostgreSQL must be version 15 on gp3."
  }

  assert {
    condition     = aws_db_instance.this.storage_encrypted && !aws_db_instance.this.publicly_accessible && aws_db_instance.this.performance_insights_enabled && aws_db_instance.this.backup_retention_period > 0
    error_message = "PostgreSQL must be encrypted, private, monitored and backed up."
  }

  assert {
    condition     = anytrue([for parameter in aws_db_parameter_group.this.parameter : parameter.name == "rds.force_ssl" && parameter.value == "1"])
    error_message = "PostgreSQL must refuse connections without TLS."
  }

  assert {
    condition     = aws_efs_file_system.nats.encrypted && toset(keys(aws_efs_access_point.nats)) == toset(keys(module.nats)) && length(toset([for point in aws_efs_access_point.nats : point.root_directory[0].path])) == length(module.nats)
    error_message = "JetStream's files must be encrypted, and each server must have its own folder."
  }

  assert {
    condition     = alltrue([for repository in aws_ecr_repository.this : repository.image_scanning_configuration[0].scan_on_push]) && length(aws_ecr_lifecycle_policy.this) == 4
    error_message = "Images must be scanned on push, and old ones must expire."
  }

  assert {
    condition     = toset([for lifecycle in aws_ecr_lifecycle_policy.this : join(" ", [for rule in jsondecode(lifecycle.policy).rules : "${rule.selection.tagStatus} ${rule.selection.countType} ${rule.selection.countNumber}"])]) == toset([var.ecr_mutable ? "any imageCountMoreThan 20" : "untagged sinceImagePushed 14"])
    error_message = "An image that may be in use must not expire."
  }

  # Tasks

  assert {
    condition     = alltrue([for service in merge(module.service, module.nats) : length(service.container.healthCheck.command) > 1 && service.container.logConfiguration.options["awslogs-group"] == service.log_group_name])
    error_message = "Every container must have a health check and its log group."
  }

  assert {
    condition     = alltrue([for service in merge(module.service, module.nats, { restore = module.restore, load-generator = module.load_generator }) : service.container.user == "10001:10001" && service.container.readonlyRootFilesystem && service.container.linuxParameters.capabilities.drop == ["ALL"]])
    error_message = "No container may run as root, write to its root file system or keep capabilities."
  }

  assert {
    condition     = alltrue(flatten([for service in merge(module.service, module.nats, { restore = module.restore, load-generator = module.load_generator }) : [for variable in service.container.environment : !can(regex("PASSWORD|TOKEN|SECRET|KEY", variable.name)) && !can(regex("//[^/]*:[^/@]*@", variable.value))]]))
    error_message = "Secrets must be neither in plain environment variables nor in URLs."
  }

  assert {
    condition     = alltrue(flatten([for service in merge(module.service, module.nats, { restore = module.restore, load-generator = module.load_generator }) : [for secret in service.container.secrets : startswith(secret.valueFrom, "arn:aws:secretsmanager:")]]))
    error_message = "Secrets must be references to Secrets Manager."
  }

  assert {
    condition     = { for name, service in module.service : name => toset([for secret in service.container.secrets : secret.name if secret.name != "REDIS_PASSWORD"]) } == { "api-gateway" = toset(["NATS_PASSWORD"]), "broadcast-service" = toset(["NATS_PASSWORD"]), "archival-worker" = toset(["NATS_PASSWORD", "POSTGRES_PASSWORD"]) }
    error_message = "A service must have only the secrets it needs."
  }

  assert {
    condition     = alltrue([for service in merge(module.service, module.nats) : service.service.circuit_breaker && service.service.rollback && !service.service.waits])
    error_message = "A failed deployment must roll back, and the first apply must not wait for images."
  }

  assert {
    condition     = alltrue([for service in module.nats : service.service.minimum_percent == 0 && service.service.maximum_percent == 100 && service.service.desired_count == 1])
    error_message = "There must never be two NATS servers on one store."
  }

  assert {
    condition     = alltrue([for service in module.service : service.service.minimum_percent == 100 && service.service.maximum_percent == 200])
    error_message = "Services must start new tasks before they stop old ones."
  }

  assert {
    condition     = alltrue(flatten([for service in merge(module.service, module.nats, { restore = module.restore, load-generator = module.load_generator }) : [for policy in service.policies : [for statement in jsondecode(policy).Statement : [for action in flatten([statement.Action]) : !strcontains(action, "*") && (!contains(flatten([statement.Resource]), "*") || action == "ecr:GetAuthorizationToken")]]]]))
    error_message = "Roles must have least privilege."
  }

  # Load balancer

  assert {
    condition     = aws_lb.this.idle_timeout > 54 && aws_lb.this.idle_timeout < 75 && aws_lb.this.drop_invalid_header_fields && !aws_lb.this.internal
    error_message = "The load balancer's idle timeout must exceed the 54 s between pings, and it must drop invalid headers."
  }

  assert {
    condition     = toset(flatten(aws_lb_listener_rule.hidden.condition[*].path_pattern[0].values)) == toset(["/metrics", "/metrics/*", "/ready", "/ready/*"]) && aws_lb_listener_rule.hidden.action[0].fixed_response[0].status_code == "404" && aws_lb_listener_rule.hidden.priority < aws_lb_listener_rule.broadcast.priority
    error_message = "The rule that hides metrics and readiness must come first."
  }

  assert {
    condition     = toset(flatten(aws_lb_listener_rule.broadcast.condition[*].path_pattern[0].values)) == toset(["/ws*", "/stats*"])
    error_message = "/ws* and /stats* must go to the broadcast service."
  }

  assert {
    condition     = aws_lb_target_group.this["broadcast-service"].stickiness[0].enabled && !aws_lb_target_group.this["api-gateway"].stickiness[0].enabled && alltrue([for group in aws_lb_target_group.this : group.target_type == "ip" && group.health_check[0].path == "/health" && length(group.name) <= 32])
    error_message = "Targets must be IP addresses with a liveness check, and only viewers must be sticky."
  }

  # Scaling and monitoring

  assert {
    condition     = toset(keys(aws_appautoscaling_target.this)) == toset(["api-gateway", "broadcast-service"]) && alltrue([for name, target in aws_appautoscaling_target.this : target.min_capacity == var.services[name].count && target.max_capacity == var.services[name].max])
    error_message = "The API and broadcast must scale between count and max."
  }

  assert {
    condition     = alltrue([for alarm in merge(aws_cloudwatch_metric_alarm.own, aws_cloudwatch_metric_alarm.aws, aws_cloudwatch_metric_alarm.least) : contains(alarm.alarm_actions, aws_sns_topic.alarms.arn)])
    error_message = "Every alarm must notify the topic."
  }

  assert {
    condition     = contains([for setting in aws_ecs_cluster.this.setting : setting.value if setting.name == "containerInsights"], "enabled")
    error_message = "Container Insights must be on."
  }

  # Outputs

  assert {
    condition     = output.rds_endpoint == "bidding-system.mocked.us-east-1.rds.amazonaws.com" && output.rds_port == 5432
    error_message = "rds_endpoint must be the host without the port."
  }

  assert {
    condition     = [for service in ["api-gateway", "broadcast-service", "archival-worker"] : [length(regexall("docker build [^\n]* -t bidding-system/${service}:${var.image_tag} --target ${service} ", output.deployment_commands)), length(regexall("docker tag bidding-system/${service}:${var.image_tag} ", output.deployment_commands)), length(regexall("update-service [^\n]*--service bidding-system-${service} ", output.deployment_commands))]] == [[1, 1, 1], [1, 1, 1], [1, 1, 1]] && length(regexall("docker push", output.deployment_commands)) == 3 && startswith(output.deployment_commands, "export AWS_PAGER=\n")
    error_message = "The outputs must give the system's addresses and its deployment commands."
  }
}
