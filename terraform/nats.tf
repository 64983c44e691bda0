# NATS with JetStream: one server, or a cluster of three. Each is an ECS service with one task and its own
# store. A new task starts only after the old one has ended, so two servers never share a store.
locals {
  # Each server of a cluster is in a different zone, so that the outage of one leaves a quorum.
  nats_zones = var.nats_clustered ? { for index, zone in local.zones : "nats-${index + 1}" => [zone] } : { nats = local.zones }
  nats_nodes = toset(keys(local.nats_zones))
  nats_hosts = { for node in local.nats_nodes : node => "${node}.${aws_service_discovery_private_dns_namespace.this.name}" }
  # What each may do is in nats/users.conf. The audit needs no NATS.
  nats_users = setunion(local.services, ["restore"])
  nats_url   = join(",", [for node in local.nats_nodes : "nats://${local.nats_hosts[node]}:4222"])
}

module "nats" {
  source   = "./modules/service"
  for_each = local.nats_nodes

  name               = "${local.name}-${each.key}"
  log_group          = "/ecs/${local.name}/${each.key}"
  log_retention_days = var.log_retention_days
  region             = var.aws_region
  cluster_arn        = aws_ecs_cluster.this.arn
  image              = var.nats_image
  # Not an entry point: some emulators ignore that, and the image's own runs this command as it is.
  command        = ["sh", "-c", file("${path.module}/nats/start.sh")]
  cpu            = var.nats_size.cpu
  memory         = var.nats_size.memory
  port           = 4222
  desired_count  = 1
  single         = true
  stop_timeout_s = 60
  health_command = ["CMD-SHELL", file("${path.module}/nats/health.sh")]
  # It may wait 50 s for the old server's lock (start.sh) and then reads the whole store.
  health_start_s       = 300
  subnet_ids           = [for zone in local.nats_zones[each.key] : aws_subnet.private[zone].id]
  security_group_id    = aws_security_group.this["nats"].id
  registry_arn         = aws_service_discovery_service.nats[each.key].arn
  execute_command      = var.execute_command
  trust_policy         = local.task_trust
  permissions_boundary = var.permissions_boundary

  environment = {
    NATS_NAME   = each.key
    NATS_ROUTES = join(" ", [for node, host in local.nats_hosts : "${host}:6222" if var.nats_clustered])
    NATS_USERS  = file("${path.module}/nats/users.conf")
  }
  secrets = merge(
    { NATS_PASSWORD = aws_secretsmanager_secret.nats.arn },
    { for user, secret in aws_secretsmanager_secret.nats_user : "NATS_${upper(replace(user, "-", "_"))}_PASSWORD" => secret.arn },
  )

  file_system = {
    id               = aws_efs_file_system.nats.id
    arn              = aws_efs_file_system.nats.arn
    access_point_id  = aws_efs_access_point.nats[each.key].id
    access_point_arn = aws_efs_access_point.nats[each.key].arn
    path             = "/data"
  }

  # A task that starts before these exist fails, and counts against the first deployment.
  depends_on = [
    aws_route.private,
    aws_route.public,
    aws_route_table_association.private,
    aws_route_table_association.public,
    aws_vpc_security_group_egress_rule.aws,
    aws_vpc_security_group_egress_rule.flow,
    aws_vpc_security_group_ingress_rule.flow,
    aws_efs_mount_target.nats,
    aws_efs_file_system_policy.nats,
    aws_secretsmanager_secret_version.nats,
    aws_secretsmanager_secret_version.nats_user,
  ]
}
