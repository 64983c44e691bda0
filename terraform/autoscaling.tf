# Scaling of the two public services: the API by requests and CPU, broadcast by CPU.
locals {
  scaled = { for name in ["api-gateway", "broadcast-service"] : name => var.services[name] }

  # Target of requests a minute per API task: 4000 a second per vCPU, about a quarter of its capacity
  # (70 µs a bid, load-tests/cpu_per_request.py).
  requests_per_target = 240000 * var.services["api-gateway"].cpu / 1024
  cpu_percent         = 60
}

resource "aws_appautoscaling_target" "this" {
  for_each = local.scaled

  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${aws_ecs_cluster.this.name}/${module.service[each.key].service_name}"
  min_capacity       = each.value.count
  max_capacity       = each.value.max
}

resource "aws_appautoscaling_policy" "cpu" {
  for_each = aws_appautoscaling_target.this

  name               = "${local.name}-${each.key}-cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = each.value.service_namespace
  scalable_dimension = each.value.scalable_dimension
  resource_id        = each.value.resource_id

  target_tracking_scaling_policy_configuration {
    target_value = local.cpu_percent
    # Scale in slowly: each task that stops disconnects its viewers.
    scale_out_cooldown = 30
    scale_in_cooldown  = 300

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}

resource "aws_appautoscaling_policy" "requests" {
  name               = "${local.name}-api-gateway-requests"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this["api-gateway"].service_namespace
  scalable_dimension = aws_appautoscaling_target.this["api-gateway"].scalable_dimension
  resource_id        = aws_appautoscaling_target.this["api-gateway"].resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = local.requests_per_target
    scale_out_cooldown = 30
    scale_in_cooldown  = 300

    predefined_metric_specification {
      predefined_metric_type = "ALBRequestCountPerTarget"
      resource_label         = "${aws_lb.this.arn_suffix}/${aws_lb_target_group.this["api-gateway"].arn_suffix}"
    }
  }
}
