output "service_name" {
  description = "Name of the ECS service."
  value       = one(concat(aws_ecs_service.fixed[*].name, aws_ecs_service.scaled[*].name))
}

output "log_group_name" {
  description = "Name of the log group."
  value       = aws_cloudwatch_log_group.this.name
}

output "container" {
  description = "Container definition, for tests. Secrets are references."
  value       = local.container
}

output "service" {
  description = "Deployment settings, for tests."
  value = one([for service in concat(aws_ecs_service.fixed, aws_ecs_service.scaled) : {
    desired_count   = service.desired_count
    scales          = length(aws_ecs_service.scaled) == 1
    grace_s         = service.health_check_grace_period_seconds
    execute_command = service.enable_execute_command
    minimum_percent = service.deployment_minimum_healthy_percent
    maximum_percent = service.deployment_maximum_percent
    circuit_breaker = service.deployment_circuit_breaker[0].enable
    rollback        = service.deployment_circuit_breaker[0].rollback
    waits           = service.wait_for_steady_state
    rebalancing     = service.availability_zone_rebalancing
    tags_from       = service.propagate_tags
    target_groups   = service.load_balancer[*].target_group_arn
    registries      = service.service_registries[*].registry_arn
    subnets         = service.network_configuration[0].subnets
    security_groups = service.network_configuration[0].security_groups
    public          = service.network_configuration[0].assign_public_ip
  }])
}

output "task" {
  description = "Task definition's settings for Fargate, for tests."
  value = {
    architecture = aws_ecs_task_definition.this.runtime_platform[0].cpu_architecture
    cpu          = aws_ecs_task_definition.this.cpu
    memory       = aws_ecs_task_definition.this.memory
    roles        = [aws_ecs_task_definition.this.execution_role_arn, aws_ecs_task_definition.this.task_role_arn]
    volumes      = flatten(aws_ecs_task_definition.this.volume[*].efs_volume_configuration)
  }
}

output "policies" {
  description = "JSON policies of the execution role and the task role, for tests."
  value       = concat([aws_iam_role_policy.execution.policy], aws_iam_role_policy.file_system[*].policy, aws_iam_role_policy.execute_command[*].policy)
}

output "boundaries" {
  description = "Permissions boundaries of both roles, for tests."
  value       = [aws_iam_role.execution.permissions_boundary, aws_iam_role.task.permissions_boundary]
}
