output "vpc_id" {
  description = "ID of the VPC."
  value       = aws_vpc.this.id
}

output "public_subnet_ids" {
  description = "IDs of the load balancer's subnets."
  value       = [for zone in local.zones : aws_subnet.public[zone].id]
}

output "private_subnet_ids" {
  description = "IDs of the subnets of tasks and stores."
  value       = [for zone in local.zones : aws_subnet.private[zone].id]
}

output "rds_endpoint" {
  description = "Host name of PostgreSQL, without the port."
  value       = aws_db_instance.this.address
}

output "rds_port" {
  description = "Port of PostgreSQL."
  value       = aws_db_instance.this.port
}

output "redis_endpoint" {
  description = "Host name of Redis' primary, without the port."
  value       = aws_elasticache_replication_group.this.primary_endpoint_address
}

output "ecr_api_gateway_url" {
  description = "URL of the API gateway's image repository."
  value       = local.repository_urls["api-gateway"]
}

output "ecr_broadcast_service_url" {
  description = "URL of the broadcast service's image repository."
  value       = local.repository_urls["broadcast-service"]
}

output "ecr_archival_worker_url" {
  description = "URL of the archival worker's image repository."
  value       = local.repository_urls["archival-worker"]
}

output "alb_dns_name" {
  description = "Host name of the load balancer, without scheme: where domain_name points to. On an emulator it has a port."
  value       = aws_lb.this.dns_name
}

output "alb_url" {
  description = "Base URL of the API."
  value       = local.alb_url
}

output "ws_url" {
  description = "Base URL for viewers, who connect to /ws/items/ITEM."
  value       = var.domain_name == null ? "ws://${aws_lb.this.dns_name}" : "wss://${var.domain_name}"
}

output "ecs_cluster_name" {
  description = "Name of the ECS cluster."
  value       = aws_ecs_cluster.this.name
}

output "ecr_load_generator_url" {
  description = "URL of the load generator's image repository."
  value       = local.repository_urls["load-generator"]
}

output "deployment_commands" {
  description = "Shell commands that build, tag and push the three images, then roll the three services. Run them in the project's root."
  value = join("\n", concat(
    # In a shell where the emulator is not set, these would address AWS.
    var.emulated ? [": \"$${AWS_ENDPOINT_URL:?must be the emulator, as in step 1 of the guide}\""] : [],
    # No pager: it would wait for a key.
    ["export AWS_PAGER=", "aws ecr get-login-password --region ${var.aws_region} | docker login --username AWS --password-stdin ${local.registry}"],
    flatten([for service in sort(local.services) : [
      "docker build --build-arg REVISION=$(git rev-parse HEAD) -t ${local.name}/${service}:${var.image_tag} --target ${service} -f compose/Dockerfile .",
      "docker tag ${local.name}/${service}:${var.image_tag} ${local.repository_urls[service]}:${var.image_tag}",
      "docker push ${local.repository_urls[service]}:${var.image_tag}",
    ]]),
    [for service in sort(local.services) :
      "aws ecs update-service --region ${var.aws_region} --cluster ${aws_ecs_cluster.this.name} --service ${local.name}-${service} --force-new-deployment"
    ],
  ))
}

output "nats_url" {
  description = "NATS_URL of the services, inside the VPC."
  value       = local.nats_url
}
