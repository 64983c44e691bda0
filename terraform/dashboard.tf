locals {
  # Title, statistic, and lines: namespace, metric, dimensions.
  graphs = [
    { title = "Bids accepted, archived", stat = "Sum", lines = [
      [local.own_namespace, "bid_accepted_total", "Service", "api-gateway"],
      [local.own_namespace, "bid_archive_events_total", "Service", "archival-worker"],
    ] },
    { title = "Outbox: age (s) and depth", stat = "Maximum", lines = [
      [local.own_namespace, "bid_outbox_age_seconds", "Service", "api-gateway"],
      [local.own_namespace, "bid_outbox_depth", "Service", "api-gateway", { yAxis = "right" }],
    ] },
    { title = "Items in Redis, of the fullest partition", stat = "Maximum", lines = [
      [local.own_namespace, "bid_items", "Service", "api-gateway"],
    ] },
    { title = "Archive lag (s)", stat = "Maximum", lines = [
      [local.own_namespace, "bid_archive_lag_seconds", "Service", "archival-worker"],
    ] },
    { title = "Viewers of a task, slow ones closed", stat = "Maximum", lines = [
      [local.own_namespace, "bid_viewers", "Service", "broadcast-service"],
      [local.own_namespace, "bid_slow_viewers_closed_total", "Service", "broadcast-service"],
    ] },
    { title = "What went wrong", stat = "Sum", lines = [
      [local.own_namespace, "bid_archive_dead_letters_total", "Service", "archival-worker"],
      [local.own_namespace, "bid_archive_conflicts_total", "Service", "archival-worker"],
      [local.own_namespace, "bid_forgotten_bids_total", "Service", "api-gateway"],
      [local.own_namespace, "bid_recovered_bids_total", "Service", "api-gateway"],
      [local.own_namespace, "bid_recovery_conflicts_total", "Service", "api-gateway"],
      [local.own_namespace, "bid_recoveries_without_stream_total", "Service", "api-gateway"],
      [local.own_namespace, "bid_watermarks_refused_total", "Service", "api-gateway"],
      [local.own_namespace, "bid_foreign_messages_total", "Service", "api-gateway"],
      [local.own_namespace, "bid_relay_restarts_total", "Service", "api-gateway"],
      [local.own_namespace, "bid_resets_total", "Service", "broadcast-service"],
    ] },
    { title = "Who relays, what needs a hand", stat = "Maximum", lines = [
      [local.own_namespace, "bid_relay_leader", "Service", "api-gateway"],
      [local.own_namespace, "bid_restore_needed", "Service", "api-gateway"],
      [local.own_namespace, "bid_redis_superseded", "Service", "api-gateway"],
      [local.own_namespace, "bid_other_system", "Service", "api-gateway"],
      [local.own_namespace, "bid_other_system", "Service", "archival-worker"],
      [local.own_namespace, "bid_archive_unknown_version", "Service", "archival-worker"],
    ] },
    { title = "Load balancer: requests and errors", stat = "Sum", lines = [
      ["AWS/ApplicationELB", "RequestCount", "LoadBalancer", aws_lb.this.arn_suffix],
      ["AWS/ApplicationELB", "HTTPCode_Target_5XX_Count", "LoadBalancer", aws_lb.this.arn_suffix],
      ["AWS/ApplicationELB", "HTTPCode_ELB_5XX_Count", "LoadBalancer", aws_lb.this.arn_suffix],
    ] },
    { title = "Load balancer: response time (s), p99", stat = "p99", lines = [
      for name in keys(local.targets) :
      ["AWS/ApplicationELB", "TargetResponseTime", "TargetGroup", aws_lb_target_group.this[name].arn_suffix, "LoadBalancer", aws_lb.this.arn_suffix]
    ] },
    { title = "Tasks: CPU (%)", stat = "Average", lines = [
      for service in local.tasks :
      ["AWS/ECS", "CPUUtilization", "ClusterName", service.ClusterName, "ServiceName", service.ServiceName]
    ] },
    { title = "Tasks: memory (%)", stat = "Maximum", lines = [
      for service in local.tasks :
      ["AWS/ECS", "MemoryUtilization", "ClusterName", service.ClusterName, "ServiceName", service.ServiceName]
    ] },
    { title = "Redis: memory and engine CPU (%)", stat = "Maximum", lines = [
      for line in setproduct(["DatabaseMemoryUsagePercentage", "EngineCPUUtilization"], keys(local.redis_nodes)) : ["AWS/ElastiCache", line[0], "CacheClusterId", line[1]]
    ] },
    { title = "Redis: evictions, replication lag (s)", stat = "Maximum", lines = [
      for line in setproduct(["Evictions", "ReplicationLag"], keys(local.redis_nodes)) : ["AWS/ElastiCache", line[0], "CacheClusterId", line[1]]
    ] },
    { title = "PostgreSQL: CPU (%) and connections", stat = "Average", lines = [
      ["AWS/RDS", "CPUUtilization", "DBInstanceIdentifier", local.name],
      ["AWS/RDS", "DatabaseConnections", "DBInstanceIdentifier", local.name, { yAxis = "right" }],
    ] },
    { title = "PostgreSQL: free storage (bytes)", stat = "Minimum", lines = [
      ["AWS/RDS", "FreeStorageSpace", "DBInstanceIdentifier", local.name],
    ] },
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = local.name

  dashboard_body = jsonencode({
    widgets = [for index, graph in local.graphs : {
      type   = "metric"
      x      = index % 2 * 12
      y      = floor(index / 2) * 6
      width  = 12
      height = 6
      properties = {
        title   = graph.title
        region  = var.aws_region
        view    = "timeSeries"
        period  = 60
        stat    = graph.stat
        metrics = graph.lines
      }
    }]
  })
}
