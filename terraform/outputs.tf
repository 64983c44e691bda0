output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "public_subnet_ids" {
  description = "Subnets of the load balancer."
  value       = [for zone in local.zones : aws_subnet.public[zone].id]
}

output "private_subnet_ids" {
  description = "Subnets of tasks and stores."
  value       = [for zone in local.zones : aws_subnet.private[zone].id]
}

output "rds_endpoint" {
  description = "Host of PostgreSQL, without its port."
  value       = aws_db_instance.this.address
}

output "rds_port" {
  description = "Port of PostgreSQL."
  value       = aws_db_instance.this.port
}

output "redis_endpoint" {
  description = "Host of Redis' primary, without its port."
  value       = aws_elasticache_replication_group.this.primary_endpoint_address
}

output "ecr_api_gateway_url" {
  description = "Repository of the API gateway's image."
  value       = aws_ecr_repository.this["api-gateway"].repository_url
}

output "ecr_broadcast_service_url" {
  description = "Repository of the broadcast service's image."
  value       = aws_ecr_repository.this["broadcast-service"].repository_url
}

output "ecr_archival_worker_url" {
  description = "Repository of the archival worker's image."
  value       = aws_ecr_repository.this["archival-worker"].repository_url
}
