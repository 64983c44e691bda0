# Two copies that differ in ignore_changes only, which cannot depend on a variable.

locals {
  service = {
    # Two tasks of a single service would share one store. Other services start new tasks before they stop old ones.
    minimum_percent = var.single ? 0 : 100
    maximum_percent = var.single ? 100 : 200
    rebalancing     = var.single ? "DISABLED" : "ENABLED"
    grace_s         = var.target_group_arn == null ? null : 60
  }
}

resource "aws_ecs_service" "fixed" {
  count = var.scales || var.desired_count == null ? 0 : 1

  name                               = var.name
  cluster                            = var.cluster_arn
  task_definition                    = aws_ecs_task_definition.this.arn
  desired_count                      = var.desired_count
  launch_type                        = "FARGATE"
  deployment_minimum_healthy_percent = local.service.minimum_percent
  deployment_maximum_percent         = local.service.maximum_percent
  availability_zone_rebalancing      = local.service.rebalancing
  health_check_grace_period_seconds  = local.service.grace_s
  enable_execute_command             = var.execute_command
  enable_ecs_managed_tags            = true
  propagate_tags                     = "SERVICE"
  # At the first apply the repositories are empty: tasks start after the first push and deployment.
  wait_for_steady_state = false

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets         = var.subnet_ids
    security_groups = [var.security_group_id]
  }

  dynamic "load_balancer" {
    for_each = var.target_group_arn[*]

    content {
      target_group_arn = load_balancer.value
      container_name   = "main"
      container_port   = var.port
    }
  }

  dynamic "service_registries" {
    for_each = var.registry_arn[*]

    content {
      registry_arn = service_registries.value
    }
  }

  depends_on = [aws_iam_role_policy.execution, aws_iam_role_policy.file_system]
}

resource "aws_ecs_service" "scaled" {
  count = var.scales ? 1 : 0

  name                               = var.name
  cluster                            = var.cluster_arn
  task_definition                    = aws_ecs_task_definition.this.arn
  desired_count                      = var.desired_count
  launch_type                        = "FARGATE"
  deployment_minimum_healthy_percent = local.service.minimum_percent
  deployment_maximum_percent         = local.service.maximum_percent
  availability_zone_rebalancing      = local.service.rebalancing
  health_check_grace_period_seconds  = local.service.grace_s
  enable_execute_command             = var.execute_command
  enable_ecs_managed_tags            = true
  propagate_tags                     = "SERVICE"
  wait_for_steady_state              = false

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets         = var.subnet_ids
    security_groups = [var.security_group_id]
  }

  dynamic "load_balancer" {
    for_each = var.target_group_arn[*]

    content {
      target_group_arn = load_balancer.value
      container_name   = "main"
      container_port   = var.port
    }
  }

  dynamic "service_registries" {
    for_each = var.registry_arn[*]

    content {
      registry_arn = service_registries.value
    }
  }

  depends_on = [aws_iam_role_policy.execution, aws_iam_role_policy.file_system]

  lifecycle {
    ignore_changes = [desired_count]
  }
}
