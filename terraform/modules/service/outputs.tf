output "service_name" {
  description = "The ECS service."
  value       = one(concat(aws_ecs_service.fixed[*].name, aws_ecs_service.scaled[*].name))
}

output "log_group_name" {
  description = "Where its lines are."
  value       = aws_cloudwatch_log_group.this.name
}

output "container" {
  description = "The container's definition, for tests: secrets are references."
  value       = local.container
}
