# Resources refer to the right other resources. Resources of the same type have distinct mocked ids, so
# that a mix-up is noticed. For both dev and prod.
mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan

  override_resource {
    target = aws_security_group.this["alb"]
    values = { id = "sg-alb" }
  }

  override_resource {
    target = aws_security_group.this["api-gateway"]
    values = { id = "sg-api-gateway" }
  }

  override_resource {
    target = aws_security_group.this["broadcast-service"]
    values = { id = "sg-broadcast-service" }
  }

  override_resource {
    target = aws_security_group.this["archival-worker"]
    values = { id = "sg-archival-worker" }
  }

  override_resource {
    target = aws_security_group.this["load-generator"]
    values = { id = "sg-load-generator" }
  }

  override_resource {
    target = aws_security_group.this["nats"]
    values = { id = "sg-nats" }
  }

  override_resource {
    target = aws_security_group.this["redis"]
    values = { id = "sg-redis" }
  }

  override_resource {
    target = aws_security_group.this["postgres"]
    values = { id = "sg-postgres" }
  }

  override_resource {
    target = aws_security_group.this["efs"]
    values = { id = "sg-efs" }
  }

  override_resource {
    target = aws_subnet.public["us-east-1a"]
    values = { id = "public-us-east-1a" }
  }

  override_resource {
    target = aws_subnet.private["us-east-1a"]
    values = { id = "private-us-east-1a" }
  }

  override_resource {
    target = aws_eip.nat["us-east-1a"]
    values = { id = "eip-us-east-1a" }
  }

  override_resource {
    target = aws_nat_gateway.this["us-east-1a"]
    values = { id = "nat-us-east-1a" }
  }

  override_resource {
    target = aws_route_table.private["us-east-1a"]
    values = { id = "private-table-us-east-1a" }
  }

  override_resource {
    target = aws_subnet.public["us-east-1b"]
    values = { id = "public-us-east-1b" }
  }

  override_resource {
    target = aws_subnet.private["us-east-1b"]
    values = { id = "private-us-east-1b" }
  }

  override_resource {
    target = aws_eip.nat["us-east-1b"]
    values = { id = "eip-us-east-1b" }
  }

  override_resource {
    target = aws_nat_gateway.this["us-east-1b"]
    values = { id = "nat-us-east-1b" }
  }

  override_resource {
    target = aws_route_table.private["us-east-1b"]
    values = { id = "private-table-us-east-1b" }
  }

  override_resource {
    target = aws_subnet.public["us-east-1c"]
    values = { id = "public-us-east-1c" }
  }

  override_resource {
    target = aws_subnet.private["us-east-1c"]
    values = { id = "private-us-east-1c" }
  }

  override_resource {
    target = aws_eip.nat["us-east-1c"]
    values = { id = "eip-us-east-1c" }
  }

  override_resource {
    target = aws_nat_gateway.this["us-east-1c"]
    values = { id = "nat-us-east-1c" }
  }

  override_resource {
    target = aws_route_table.private["us-east-1c"]
    values = { id = "private-table-us-east-1c" }
  }

  override_resource {
    target = aws_route_table.public
    values = { id = "public-table" }
  }

  override_resource {
    target = aws_internet_gateway.this
    values = { id = "igw" }
  }

  override_resource {
    target = aws_secretsmanager_secret.db
    values = { id = "secret-db", arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:db" }
  }

  override_resource {
    target = aws_secretsmanager_secret.nats
    values = { id = "secret-nats", arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:nats" }
  }

  override_resource {
    target = aws_secretsmanager_secret.nats_user["api-gateway"]
    values = { id = "secret-nats-api-gateway", arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:nats-api-gateway" }
  }

  override_resource {
    target = aws_secretsmanager_secret.nats_user["broadcast-service"]
    values = { id = "secret-nats-broadcast-service", arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:nats-broadcast-service" }
  }

  override_resource {
    target = aws_secretsmanager_secret.nats_user["archival-worker"]
    values = { id = "secret-nats-archival-worker", arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:nats-archival-worker" }
  }

  override_resource {
    target = aws_secretsmanager_secret.nats_user["restore"]
    values = { id = "secret-nats-restore", arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:nats-restore" }
  }

  override_resource {
    target = aws_secretsmanager_secret.redis[0]
    values = { id = "secret-redis", arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:redis" }
  }

  override_resource {
    target = aws_ecr_repository.this["api-gateway"]
    values = { arn = "arn:aws:ecr:us-east-1:123456789012:repository/api-gateway", repository_url = "registry.test/api-gateway" }
  }

  override_resource {
    target = aws_ecr_repository.this["broadcast-service"]
    values = { arn = "arn:aws:ecr:us-east-1:123456789012:repository/broadcast-service", repository_url = "registry.test/broadcast-service" }
  }

  override_resource {
    target = aws_ecr_repository.this["archival-worker"]
    values = { arn = "arn:aws:ecr:us-east-1:123456789012:repository/archival-worker", repository_url = "registry.test/archival-worker" }
  }

  override_resource {
    target = aws_ecr_repository.this["load-generator"]
    values = { arn = "arn:aws:ecr:us-east-1:123456789012:repository/load-generator", repository_url = "registry.test/load-generator" }
  }

  override_resource {
    target = aws_efs_access_point.nats["nats"]
    values = { id = "fsap-nats", arn = "arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-nats" }
  }

  override_resource {
    target = aws_service_discovery_service.nats["nats"]
    values = { id = "srv-nats", arn = "arn:aws:servicediscovery:us-east-1:123456789012:service/srv-nats" }
  }

  override_resource {
    target = aws_efs_access_point.nats["nats-1"]
    values = { id = "fsap-nats-1", arn = "arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-nats-1" }
  }

  override_resource {
    target = aws_service_discovery_service.nats["nats-1"]
    values = { id = "srv-nats-1", arn = "arn:aws:servicediscovery:us-east-1:123456789012:service/srv-nats-1" }
  }

  override_resource {
    target = aws_efs_access_point.nats["nats-2"]
    values = { id = "fsap-nats-2", arn = "arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-nats-2" }
  }

  override_resource {
    target = aws_service_discovery_service.nats["nats-2"]
    values = { id = "srv-nats-2", arn = "arn:aws:servicediscovery:us-east-1:123456789012:service/srv-nats-2" }
  }

  override_resource {
    target = aws_efs_access_point.nats["nats-3"]
    values = { id = "fsap-nats-3", arn = "arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-nats-3" }
  }

  override_resource {
    target = aws_service_discovery_service.nats["nats-3"]
    values = { id = "srv-nats-3", arn = "arn:aws:servicediscovery:us-east-1:123456789012:service/srv-nats-3" }
  }

  override_resource {
    target = module.service["api-gateway"].aws_iam_role.execution
    values = { id = "api-gateway-execution", arn = "arn:aws:iam::123456789012:role/api-gateway-execution" }
  }

  override_resource {
    target = module.service["api-gateway"].aws_iam_role.task
    values = { id = "api-gateway-task", arn = "arn:aws:iam::123456789012:role/api-gateway-task" }
  }

  override_resource {
    target = module.service["api-gateway"].aws_cloudwatch_log_group.this
    values = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:api-gateway" }
  }

  override_resource {
    target = module.service["broadcast-service"].aws_iam_role.execution
    values = { id = "broadcast-service-execution", arn = "arn:aws:iam::123456789012:role/broadcast-service-execution" }
  }

  override_resource {
    target = module.service["broadcast-service"].aws_iam_role.task
    values = { id = "broadcast-service-task", arn = "arn:aws:iam::123456789012:role/broadcast-service-task" }
  }

  override_resource {
    target = module.service["broadcast-service"].aws_cloudwatch_log_group.this
    values = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:broadcast-service" }
  }

  override_resource {
    target = module.service["archival-worker"].aws_iam_role.execution
    values = { id = "archival-worker-execution", arn = "arn:aws:iam::123456789012:role/archival-worker-execution" }
  }

  override_resource {
    target = module.service["archival-worker"].aws_iam_role.task
    values = { id = "archival-worker-task", arn = "arn:aws:iam::123456789012:role/archival-worker-task" }
  }

  override_resource {
    target = module.service["archival-worker"].aws_cloudwatch_log_group.this
    values = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:archival-worker" }
  }

  override_resource {
    target = module.load_generator.aws_iam_role.execution
    values = { id = "load-generator-execution", arn = "arn:aws:iam::123456789012:role/load-generator-execution" }
  }

  override_resource {
    target = module.load_generator.aws_iam_role.task
    values = { id = "load-generator-task", arn = "arn:aws:iam::123456789012:role/load-generator-task" }
  }

  override_resource {
    target = module.load_generator.aws_cloudwatch_log_group.this
    values = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:load-generator" }
  }

  override_resource {
    target = module.nats["nats"].aws_iam_role.execution
    values = { id = "nats-execution", arn = "arn:aws:iam::123456789012:role/nats-execution" }
  }

  override_resource {
    target = module.nats["nats"].aws_iam_role.task
    values = { id = "nats-task", arn = "arn:aws:iam::123456789012:role/nats-task" }
  }

  override_resource {
    target = module.nats["nats"].aws_cloudwatch_log_group.this
    values = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:nats" }
  }

  override_resource {
    target = module.nats["nats-1"].aws_iam_role.execution
    values = { id = "nats-1-execution", arn = "arn:aws:iam::123456789012:role/nats-1-execution" }
  }

  override_resource {
    target = module.nats["nats-1"].aws_iam_role.task
    values = { id = "nats-1-task", arn = "arn:aws:iam::123456789012:role/nats-1-task" }
  }

  override_resource {
    target = module.nats["nats-1"].aws_cloudwatch_log_group.this
    values = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:nats-1" }
  }

  override_resource {
    target = module.nats["nats-2"].aws_iam_role.execution
    values = { id = "nats-2-execution", arn = "arn:aws:iam::123456789012:role/nats-2-execution" }
  }

  override_resource {
    target = module.nats["nats-2"].aws_iam_role.task
    values = { id = "nats-2-task", arn = "arn:aws:iam::123456789012:role/nats-2-task" }
  }

  override_resource {
    target = module.nats["nats-2"].aws_cloudwatch_log_group.this
    values = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:nats-2" }
  }

  override_resource {
    target = module.nats["nats-3"].aws_iam_role.execution
    values = { id = "nats-3-execution", arn = "arn:aws:iam::123456789012:role/nats-3-execution" }
  }

  override_resource {
    target = module.nats["nats-3"].aws_iam_role.task
    values = { id = "nats-3-task", arn = "arn:aws:iam::123456789012:role/nats-3-task" }
  }

  override_resource {
    target = module.nats["nats-3"].aws_cloudwatch_log_group.this
    values = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:nats-3" }
  }
}

run "wiring" {
  command = plan

  # Network

  assert {
    condition     = alltrue([for name, flow in local.flows : [aws_vpc_security_group_egress_rule.flow[name].security_group_id, aws_vpc_security_group_egress_rule.flow[name].referenced_security_group_id] == ["sg-${flow.from}", "sg-${flow.to}"] && [aws_vpc_security_group_ingress_rule.flow[name].security_group_id, aws_vpc_security_group_ingress_rule.flow[name].referenced_security_group_id] == ["sg-${flow.to}", "sg-${flow.from}"]])
    error_message = "Each flow must be an egress rule of the first group and an ingress rule of the second."
  }

  assert {
    condition = { for name, rule in aws_vpc_security_group_ingress_rule.flow : name => "${rule.referenced_security_group_id} ${rule.security_group_id} ${rule.from_port}" } == {
      alb-to-api           = "sg-alb sg-api-gateway 8080"
      alb-to-broadcast     = "sg-alb sg-broadcast-service 8081"
      api-to-redis         = "sg-api-gateway sg-redis 6379"
      broadcast-to-redis   = "sg-broadcast-service sg-redis 6379"
      archival-to-redis    = "sg-archival-worker sg-redis 6379"
      api-to-nats          = "sg-api-gateway sg-nats 4222"
      broadcast-to-nats    = "sg-broadcast-service sg-nats 4222"
      archival-to-nats     = "sg-archival-worker sg-nats 4222"
      nats-to-nats         = "sg-nats sg-nats 6222"
      nats-to-efs          = "sg-nats sg-efs 2049"
      archival-to-postgres = "sg-archival-worker sg-postgres 5432"
    }
    error_message = "Only these flows may exist."
  }

  assert {
    condition     = toset(values(aws_vpc_security_group_egress_rule.aws)[*].security_group_id) == toset(["sg-api-gateway", "sg-broadcast-service", "sg-archival-worker", "sg-load-generator", "sg-nats"])
    error_message = "Tasks, but not stores or the load balancer, may reach AWS' APIs."
  }

  assert {
    condition     = alltrue([for zone, association in aws_route_table_association.public : association.subnet_id == "public-${zone}" && association.route_table_id == "public-table"]) && aws_route.public.route_table_id == "public-table" && aws_route.public.gateway_id == "igw"
    error_message = "Public subnets must route to the internet gateway."
  }

  assert {
    condition     = alltrue([for zone, association in aws_route_table_association.private : association.subnet_id == "private-${zone}" && association.route_table_id == "private-table-${zone}"]) && alltrue([for zone, route in aws_route.private : route.gateway_id == null && route.route_table_id == "private-table-${zone}" && route.nat_gateway_id == "nat-${var.nat_per_zone ? zone : "us-east-1a"}"])
    error_message = "Private subnets must route to their zone's NAT gateway, or to the only one."
  }

  assert {
    condition     = alltrue([for zone, gateway in aws_nat_gateway.this : [gateway.subnet_id, gateway.allocation_id] == ["public-${zone}", "eip-${zone}"]])
    error_message = "NAT gateways must be in public subnets."
  }

  assert {
    condition     = aws_vpc_endpoint.s3.service_name == "com.amazonaws.us-east-1.s3" && aws_vpc_endpoint.s3.vpc_endpoint_type == "Gateway" && aws_vpc_endpoint.s3.route_table_ids == toset([for zone in local.zones : "private-table-${zone}"])
    error_message = "Every private subnet must use the S3 endpoint for image layers."
  }

  assert {
    condition     = alltrue([for zone in local.zones : aws_subnet.public[zone].availability_zone == zone && aws_subnet.private[zone].availability_zone == zone]) && length(distinct(concat(values(aws_subnet.public)[*].cidr_block, values(aws_subnet.private)[*].cidr_block))) == 2 * length(local.zones)
    error_message = "Each zone must have its own subnets, without overlapping addresses."
  }

  # Stores

  assert {
    condition     = aws_elasticache_replication_group.this.parameter_group_name == "bidding-system-redis7" && aws_db_instance.this.parameter_group_name == "bidding-system-postgres15" && aws_elasticache_replication_group.this.subnet_group_name == "bidding-system" && aws_db_instance.this.db_subnet_group_name == "bidding-system"
    error_message = "Stores must use their own parameter and subnet groups: AWS' defaults evict keys, and allow connections without TLS."
  }

  assert {
    condition     = alltrue([for ids in [aws_db_subnet_group.this.subnet_ids, aws_elasticache_subnet_group.this.subnet_ids, toset(values(aws_efs_mount_target.nats)[*].subnet_id)] : ids == toset([for zone in local.zones : "private-${zone}"])])
    error_message = "Stores must be in all private subnets."
  }

  assert {
    condition     = aws_db_instance.this.vpc_security_group_ids == toset(["sg-postgres"]) && aws_elasticache_replication_group.this.security_group_ids == toset(["sg-redis"]) && alltrue([for target in aws_efs_mount_target.nats : target.security_groups == toset(["sg-efs"])])
    error_message = "Each store must be in its own security group."
  }

  assert {
    condition     = aws_db_instance.this.enabled_cloudwatch_logs_exports == toset(["postgresql", "upgrade"]) && { for kind, group in aws_cloudwatch_log_group.postgres : group.name => group.retention_in_days } == { for kind in ["postgresql", "upgrade"] : "/aws/rds/instance/bidding-system/${kind}" => var.log_retention_days }
    error_message = "PostgreSQL's logs must expire like other logs."
  }

  assert {
    condition     = [aws_secretsmanager_secret_version.db.secret_id, aws_secretsmanager_secret_version.nats.secret_id] == ["secret-db", "secret-nats"] && alltrue([for version in aws_secretsmanager_secret_version.redis : version.secret_id == "secret-redis"]) && alltrue([for user, version in aws_secretsmanager_secret_version.nats_user : version.secret_id == "secret-nats-${user}"])
    error_message = "Each password must be stored in its own secret."
  }

  # Tasks

  assert {
    condition     = alltrue([for name, service in module.service : service.service.security_groups == toset(["sg-${name}"]) && service.service.subnets == toset([for zone in local.zones : "private-${zone}"])])
    error_message = "Services must run in every private subnet, each in its own security group."
  }

  assert {
    condition     = alltrue([for node, service in module.nats : jsonencode(service.service.subnets) == jsonencode({ nats = ["private-us-east-1a", "private-us-east-1b"], nats-1 = ["private-us-east-1a"], nats-2 = ["private-us-east-1b"], nats-3 = ["private-us-east-1c"] }[node]) && service.service.security_groups == toset(["sg-nats"])])
    error_message = "A single NATS server may run in any zone; three must run in one zone each."
  }

  assert {
    condition     = alltrue([for name, service in module.service : service.container.image == "registry.test/${name}:${var.image_tag}"]) && alltrue([for service in module.nats : service.container.image == var.nats_image])
    error_message = "Each service must run its own image."
  }

  assert {
    condition     = alltrue([for name, service in module.service : [tostring(service.task.cpu), tostring(service.task.memory)] == [tostring(var.services[name].cpu), tostring(var.services[name].memory)]]) && alltrue([for service in module.nats : [tostring(service.task.cpu), tostring(service.task.memory)] == [tostring(var.nats_size.cpu), tostring(var.nats_size.memory)]])
    error_message = "Tasks must have the configured size."
  }

  assert {
    condition     = alltrue(flatten([for name, service in merge(module.service, module.nats, { restore = module.restore }) : [for secret in service.container.secrets : secret.valueFrom == { POSTGRES_PASSWORD = "arn:aws:secretsmanager:us-east-1:123456789012:secret:db", NATS_PASSWORD = "arn:aws:secretsmanager:us-east-1:123456789012:secret:nats${contains(keys(module.nats), name) ? "" : "-${name}"}", REDIS_PASSWORD = "arn:aws:secretsmanager:us-east-1:123456789012:secret:redis", NATS_API_GATEWAY_PASSWORD = "arn:aws:secretsmanager:us-east-1:123456789012:secret:nats-api-gateway", NATS_BROADCAST_SERVICE_PASSWORD = "arn:aws:secretsmanager:us-east-1:123456789012:secret:nats-broadcast-service", NATS_ARCHIVAL_WORKER_PASSWORD = "arn:aws:secretsmanager:us-east-1:123456789012:secret:nats-archival-worker", NATS_RESTORE_PASSWORD = "arn:aws:secretsmanager:us-east-1:123456789012:secret:nats-restore" }[secret.name]]]))
    error_message = "Each password variable must refer to the right secret."
  }

  assert {
    condition     = alltrue([for service in module.nats : toset([for secret in service.container.secrets : secret.name]) == toset(["NATS_PASSWORD", "NATS_API_GATEWAY_PASSWORD", "NATS_BROADCAST_SERVICE_PASSWORD", "NATS_ARCHIVAL_WORKER_PASSWORD", "NATS_RESTORE_PASSWORD"])])
    error_message = "NATS must have only the passwords of its users."
  }

  assert {
    condition     = module.restore.service == null && module.restore.container.healthCheck == null && module.restore.container.command == tolist(["python", "-m", "pkg.archival", "restore", "--yes"]) && module.restore.container.image == "registry.test/archival-worker:${var.image_tag}" && anytrue([for variable in module.restore.container.environment : variable.name == "NATS_USER" && variable.value == "restore"])
    error_message = "restore must be a task without a service, with its own NATS user."
  }

  assert {
    condition     = alltrue([for name, service in merge(module.service, module.nats) : [for role in service.task.roles : role] == ["arn:aws:iam::123456789012:role/${name}-execution", "arn:aws:iam::123456789012:role/${name}-task"]])
    error_message = "The execution role and the task role must not be swapped."
  }

  assert {
    condition = jsondecode(aws_iam_role.flow.assume_role_policy).Statement[0].Principal.Service == "vpc-flow-logs.amazonaws.com" && alltrue([for name, service in merge(module.service, module.nats) : toset(flatten([for statement in jsondecode(service.policies[0]).Statement : statement.Resource])) == toset(concat(
      ["arn:aws:logs:us-east-1:123456789012:log-group:${name}:*"],
      contains(keys(module.service), name) ? ["arn:aws:ecr:us-east-1:123456789012:repository/${name}", "*"] : [],
      service.container.secrets[*].valueFrom,
    ))])
    error_message = "An execution role must allow only the service's own image, secrets and log group."
  }

  assert {
    condition = { for name, service in module.service : name => { for variable in service.container.environment : variable.name => variable.value } } == {
      for name, own in {
        api-gateway       = { BID_STRATEGY = var.bid_strategy, BID_STRATEGY_OVERRIDE = tostring(var.bid_strategy_override), REDIS_MIN_REPLICAS = tostring(var.redis_min_replicas), OUTBOX_MAX_ENTRIES = tostring(var.outbox_max_entries), ITEMS_MAX = tostring(var.items_max), ALLOWED_ORIGINS = join(",", var.allowed_origins) }
        broadcast-service = { ALLOWED_ORIGINS = join(",", var.allowed_origins) }
        archival-worker   = { POSTGRES_URL = "postgresql://bidding@bidding-system.mocked.us-east-1.rds.amazonaws.com:5432/bidding?sslmode=require" }
        } : name => merge(own, {
          LOG_FORMAT       = "json"
          EMF_EVERY_S      = "30"
          DEREGISTER_S     = "5"
          REDIS_URL        = "rediss://master.bidding-system.mocked.use1.cache.amazonaws.com:6379/0"
          NATS_URL         = var.nats_clustered ? "nats://nats-1.bidding-system.local:4222,nats://nats-2.bidding-system.local:4222,nats://nats-3.bidding-system.local:4222" : "nats://nats.bidding-system.local:4222"
          NATS_USER        = name
          STREAM_REPLICAS  = var.nats_clustered ? "3" : "1"
          STREAM_MAX_BYTES = tostring(var.stream_max_bytes)
      })
    }
    error_message = "Services must have exactly these settings."
  }

  assert {
    condition     = alltrue([for name, service in module.service : service.container.healthCheck.command == tolist(["CMD", "python", "-m", "pkg.runtime.health", "http://127.0.0.1:${ { api-gateway = 8080, broadcast-service = 8081, archival-worker = 8082 }[name]}/health"]) && service.container.logConfiguration.options["awslogs-region"] == "us-east-1"])
    error_message = "Each health check must use the service's own port, and logs must go to aws_region."
  }

  assert {
    condition     = { for name, service in merge(module.service, module.nats) : name => service.service.scales } == merge({ api-gateway = true, broadcast-service = true, archival-worker = false }, { for node in keys(module.nats) : node => false })
    error_message = "An apply must ignore exactly the task counts that autoscaling changes."
  }

  assert {
    condition     = alltrue([for name, service in merge(module.service, module.nats) : service.service.execute_command == var.execute_command && (service.service.grace_s == null) == !contains(["api-gateway", "broadcast-service"], name)])
    error_message = "Services behind the load balancer must have a grace period to start."
  }

  assert {
    condition     = alltrue([for node, service in module.nats : { for variable in service.container.environment : variable.name => variable.value } == { NATS_NAME = node, NATS_USERS = file("nats/users.conf"), NATS_ROUTES = var.nats_clustered ? "nats-1.bidding-system.local:6222 nats-2.bidding-system.local:6222 nats-3.bidding-system.local:6222" : "" } && service.container.stopTimeout == 60])
    error_message = "Each NATS server must have its own name, know its users and the others, and have time to stop."
  }

  assert {
    condition     = alltrue([for node, service in aws_service_discovery_service.nats : service.name == node && service.dns_config[0].dns_records[0].ttl <= 10 && service.dns_config[0].dns_records[0].type == "A"])
    error_message = "A NATS server's DNS name must be up to date soon after it moved."
  }

  assert {
    condition     = alltrue([for node, service in module.nats : service.service.registries == tolist(["arn:aws:servicediscovery:us-east-1:123456789012:service/srv-${node}"]) && service.task.volumes[0].authorization_config[0].access_point_id == "fsap-${node}" && [for statement in jsondecode(service.policies[1]).Statement : statement.Condition.StringEquals["elasticfilesystem:AccessPointArn"]] == ["arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-${node}"]])
    error_message = "A NATS server must have its own DNS name and its own files."
  }
}

run "a_boundary" {
  command = plan

  variables {
    permissions_boundary = "arn:aws:iam::123456789012:policy/bidding-system-boundary"
  }

  assert {
    condition     = alltrue([for boundary in concat(flatten(values(module.service)[*].boundaries), flatten(values(module.nats)[*].boundaries), module.restore.boundaries, module.load_generator.boundaries, [aws_iam_role.flow.permissions_boundary]) : boundary == "arn:aws:iam::123456789012:policy/bidding-system-boundary"])
    error_message = "Every role must have the permissions boundary."
  }
}
