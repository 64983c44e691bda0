# DNS names inside the VPC: nats.bidding-system.local, or nats-1 to nats-3 if NATS is a cluster.
resource "aws_service_discovery_private_dns_namespace" "this" {
  name        = "${local.name}.local"
  description = "Names of the bidding system's services"
  vpc         = aws_vpc.this.id
}

resource "aws_service_discovery_service" "nats" {
  for_each = local.nats_nodes

  name          = each.key
  description   = "Task of ${local.name}-${each.key}"
  force_destroy = true
  namespace_id  = aws_service_discovery_private_dns_namespace.this.id

  dns_config {
    namespace_id   = aws_service_discovery_private_dns_namespace.this.id
    routing_policy = "MULTIVALUE"

    dns_records {
      type = "A"
      ttl  = 5
    }
  }
}
