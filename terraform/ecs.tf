resource "aws_ecs_cluster" "this" {
  name = "${local.name}-cluster"

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

locals {
  # Memory sizes in MiB that Fargate offers, by CPU units.
  fargate_memory = {
    256  = [512, 1024, 2048]
    512  = range(1024, 4097, 1024)
    1024 = range(2048, 8193, 1024)
    2048 = range(4096, 16385, 1024)
    4096 = range(8192, 30721, 1024)
  }

  # Seconds. A stopping task keeps accepting for deregister_s, then drains for at most 15
  # (SHUTDOWN_TIMEOUT_S); ECS kills it after stop_timeout_s.
  deregister_s   = 5
  stop_timeout_s = 30

  redis_settings = {
    environment = merge(
      { REDIS_URL = "rediss://${aws_elasticache_replication_group.this.primary_endpoint_address}:6379/0" },
      { for pem in var.redis_ca[*] : "REDIS_CA" => pem },
    )
    secrets = { for arn in aws_secretsmanager_secret.redis[*].arn : "REDIS_PASSWORD" => arn }
  }

  nats_settings = { for user, secret in aws_secretsmanager_secret.nats_user : user => {
    environment = {
      NATS_URL         = local.nats_url
      NATS_USER        = user
      STREAM_REPLICAS  = tostring(length(local.nats_nodes))
      STREAM_MAX_BYTES = tostring(var.stream_max_bytes)
    }
    secrets = { NATS_PASSWORD = secret.arn }
  } }

  postgres_settings = {
    environment = merge(
      { POSTGRES_URL = "postgresql://bidding@${aws_db_instance.this.endpoint}/bidding?sslmode=require" },
      { for pem in var.postgres_ca[*] : "POSTGRES_CA" => pem },
    )
    secrets = { POSTGRES_PASSWORD = aws_secretsmanager_secret.db.arn }
  }

  service_settings = {
    api-gateway = {
      port  = 8080
      parts = [local.redis_settings, local.nats_settings["api-gateway"]]
      own = {
        BID_STRATEGY          = var.bid_strategy
        BID_STRATEGY_OVERRIDE = tostring(var.bid_strategy_override)
        REDIS_MIN_REPLICAS    = tostring(var.redis_min_replicas)
        OUTBOX_MAX_ENTRIES    = tostring(var.outbox_max_entries)
        ITEMS_MAX             = tostring(var.items_max)
        ALLOWED_ORIGINS       = join(",", var.allowed_origins)
      }
    }
    broadcast-service = {
      port  = 8081
      parts = [local.redis_settings, local.nats_settings["broadcast-service"]]
      own   = { ALLOWED_ORIGINS = join(",", var.allowed_origins) }
    }
    archival-worker = {
      port = 8082
      # The audit runs in this task too, and needs Redis.
      parts = [local.redis_settings, local.nats_settings["archival-worker"], local.postgres_settings]
      own   = {}
    }
  }
}

module "service" {
  source   = "./modules/service"
  for_each = local.service_settings

  name                 = "${local.name}-${each.key}"
  log_group            = "/ecs/${local.name}/${each.key}"
  log_retention_days   = var.log_retention_days
  region               = var.aws_region
  cluster_arn          = aws_ecs_cluster.this.arn
  image                = "${local.repository_urls[each.key]}:${var.image_tag}"
  repository_arn       = aws_ecr_repository.this[each.key].arn
  cpu                  = var.services[each.key].cpu
  memory               = var.services[each.key].memory
  port                 = each.value.port
  desired_count        = var.services[each.key].count
  scales               = each.key != "archival-worker"
  stop_timeout_s       = local.stop_timeout_s
  health_command       = ["CMD", "python", "-m", "pkg.runtime.health", "http://127.0.0.1:${each.value.port}/health"]
  subnet_ids           = [for subnet in aws_subnet.private : subnet.id]
  security_group_id    = aws_security_group.this[each.key].id
  target_group_arn     = each.key == "archival-worker" ? null : aws_lb_target_group.this[each.key].arn
  execute_command      = var.execute_command
  trust_policy         = local.task_trust
  permissions_boundary = var.permissions_boundary

  environment = merge(concat(
    [{ LOG_FORMAT = "json", EMF_EVERY_S = "30", DEREGISTER_S = tostring(local.deregister_s) }, each.value.own],
    each.value.parts[*].environment,
  )...)
  secrets = merge(each.value.parts[*].secrets...)

  # Tasks cannot join a target group without a listener, and cannot start without a route and their
  # secrets. Failed starts would count against the first deployment.
  depends_on = [
    aws_route.private,
    aws_route.public,
    aws_route_table_association.private,
    aws_route_table_association.public,
    aws_vpc_security_group_egress_rule.aws,
    aws_vpc_security_group_egress_rule.flow,
    aws_vpc_security_group_ingress_rule.flow,
    aws_lb_listener.http,
    aws_lb_listener_rule.broadcast,
    aws_secretsmanager_secret_version.db,
    aws_secretsmanager_secret_version.nats_user,
    aws_secretsmanager_secret_version.redis,
  ]
}

# Run by hand (README, Restore). A task of its own, because it may do in NATS what the worker may not.
module "restore" {
  source = "./modules/service"

  name                 = "${local.name}-restore"
  log_group            = "/ecs/${local.name}/restore"
  log_retention_days   = var.log_retention_days
  region               = var.aws_region
  cluster_arn          = aws_ecs_cluster.this.arn
  image                = "${local.repository_urls["archival-worker"]}:${var.image_tag}"
  repository_arn       = aws_ecr_repository.this["archival-worker"].arn
  command              = ["python", "-m", "pkg.archival", "restore", "--yes"]
  cpu                  = var.services["archival-worker"].cpu
  memory               = var.services["archival-worker"].memory
  desired_count        = null
  stop_timeout_s       = local.stop_timeout_s
  health_command       = null
  subnet_ids           = [for subnet in aws_subnet.private : subnet.id]
  security_group_id    = aws_security_group.this["archival-worker"].id
  execute_command      = var.execute_command
  trust_policy         = local.task_trust
  permissions_boundary = var.permissions_boundary

  environment = merge({ LOG_FORMAT = "json" }, local.redis_settings.environment, local.nats_settings["restore"].environment, local.postgres_settings.environment)
  secrets     = merge(local.redis_settings.secrets, local.nats_settings["restore"].secrets, local.postgres_settings.secrets)
}
