# Load generator: each task is a crowd of its own, which bids until the desired count is lowered again.
# It has no tasks unless somebody asks for them, and its image is pushed only then (README, Load tests).
module "load_generator" {
  source = "./modules/service"

  name               = "${local.name}-load-generator"
  log_group          = "/ecs/${local.name}/load-generator"
  log_retention_days = var.log_retention_days
  region             = var.aws_region
  cluster_arn        = aws_ecs_cluster.this.arn
  image              = "${local.repository_urls["load-generator"]}:${var.image_tag}"
  repository_arn     = aws_ecr_repository.this["load-generator"].arn
  # One process of Locust keeps one vCPU busy. The outcomes of a task's bids are its last lines in the log.
  command = [
    "python", "-m", "locust", "-f", "locustfile.py", "--headless", "--only-summary",
    "--host", local.load_host,
    "--users", tostring(var.load_generator.users),
    "--spawn-rate", tostring(ceil(var.load_generator.users / 10)),
    var.load_generator.bidders,
  ]
  cpu           = 1024
  memory        = 2048
  desired_count = var.load_generator.count
  # More than the 30 s that Locust waits for answers to bids in flight.
  stop_timeout_s       = 45
  health_command       = null
  subnet_ids           = [for subnet in aws_subnet.private : subnet.id]
  security_group_id    = aws_security_group.this["load-generator"].id
  execute_command      = var.execute_command
  trust_policy         = local.task_trust
  permissions_boundary = var.permissions_boundary

  environment = { for strategy in var.load_generator.strategy[*] : "BID_STRATEGY" => strategy }
  secrets     = {}

  depends_on = [
    aws_route.private,
    aws_route.public,
    aws_route_table_association.private,
    aws_route_table_association.public,
    aws_vpc_security_group_egress_rule.aws,
    aws_vpc_security_group_egress_rule.load,
  ]
}

locals {
  alb_url   = var.domain_name == null ? "http://${aws_lb.this.dns_name}" : "https://${var.domain_name}"
  load_host = var.load_generator.host == null ? local.alb_url : var.load_generator.host
}

# The load balancer's name has public addresses, also inside the VPC, and they change: no group can be
# named. With a certificate this is port 443, where all tasks may leave already.
resource "aws_vpc_security_group_egress_rule" "load" {
  count = var.certificate_arn == null ? 1 : 0

  security_group_id = aws_security_group.this["load-generator"].id
  description       = "The load balancer, by its public addresses"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 80
  to_port           = 80
}
