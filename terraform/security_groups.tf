locals {
  groups = {
    alb               = "Load balancer: the only one that the world reaches"
    api-gateway       = "API gateway tasks"
    broadcast-service = "Broadcast service tasks"
    archival-worker   = "Archival worker tasks"
    load-generator    = "Load generator tasks: nothing may connect to them"
    nats              = "NATS tasks"
    redis             = "Redis"
    postgres          = "PostgreSQL"
    efs               = "File system of JetStream"
  }

  # Allowed connections. Each is an egress rule of the first group and an ingress rule of the second.
  flows = {
    alb-to-api           = { from = "alb", to = "api-gateway", port = 8080 }
    alb-to-broadcast     = { from = "alb", to = "broadcast-service", port = 8081 }
    api-to-redis         = { from = "api-gateway", to = "redis", port = 6379 }
    broadcast-to-redis   = { from = "broadcast-service", to = "redis", port = 6379 }
    archival-to-redis    = { from = "archival-worker", to = "redis", port = 6379 }
    api-to-nats          = { from = "api-gateway", to = "nats", port = 4222 }
    broadcast-to-nats    = { from = "broadcast-service", to = "nats", port = 4222 }
    archival-to-nats     = { from = "archival-worker", to = "nats", port = 4222 }
    nats-to-nats         = { from = "nats", to = "nats", port = 6222 }
    nats-to-efs          = { from = "nats", to = "efs", port = 2049 }
    archival-to-postgres = { from = "archival-worker", to = "postgres", port = 5432 }
  }
}

resource "aws_security_group" "this" {
  # checkov:skip=CKV2_AWS_5:attached with for_each, which the check does not follow
  for_each = local.groups

  name        = "${local.name}-${each.key}"
  description = each.value
  vpc_id      = aws_vpc.this.id
  tags        = { Name = "${local.name}-${each.key}" }
}

resource "aws_vpc_security_group_egress_rule" "flow" {
  for_each = local.flows

  security_group_id            = aws_security_group.this[each.value.from].id
  referenced_security_group_id = aws_security_group.this[each.value.to].id
  description                  = each.key
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
}

resource "aws_vpc_security_group_ingress_rule" "flow" {
  for_each = local.flows

  security_group_id            = aws_security_group.this[each.value.to].id
  referenced_security_group_id = aws_security_group.this[each.value.from].id
  description                  = each.key
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
}

resource "aws_vpc_security_group_ingress_rule" "world" {
  for_each = toset(var.certificate_arn == null ? ["80"] : ["80", "443"])

  security_group_id = aws_security_group.this["alb"].id
  description       = "The world on ${each.key}"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = tonumber(each.key)
  to_port           = tonumber(each.key)
}

# AWS' APIs for images, logs and secrets have no security group to refer to.
resource "aws_vpc_security_group_egress_rule" "aws" {
  for_each = setunion(local.services, ["load-generator", "nats"])

  security_group_id = aws_security_group.this[each.key].id
  description       = "AWS APIs over HTTPS"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}
