# Alarms. The services' own metrics come from their logs; pkg/runtime/emf.py lists them, and a test
# compares that list with the names used here.
locals {
  own_namespace = "BiddingSystem"

  # Metric, service that emits it, threshold, minutes above it, statistic, and what to do.
  own_alarms = {
    outbox-age              = { metric = "bid_outbox_age_seconds", service = "api-gateway", above = 60, minutes = 3, statistic = "Maximum", what = "Accepted bids are not archived: look at the archival worker, NATS and PostgreSQL." }
    items                   = { metric = "bid_items", service = "api-gateway", above = floor(var.items_max * 0.8), minutes = 5, statistic = "Maximum", what = "Redis is nearly full of items; soon bids on new ones get 503: find out who makes them, or raise items_max." }
    archive-lag             = { metric = "bid_archive_lag_seconds", service = "archival-worker", above = 60, minutes = 3, statistic = "Maximum", what = "The archive is behind: look at PostgreSQL." }
    dead-letters            = { metric = "bid_archive_dead_letters_total", service = "archival-worker", above = 0, minutes = 1, statistic = "Sum", what = "Events could not be archived: run the audit, which lists them." }
    conflicts               = { metric = "bid_archive_conflicts_total", service = "archival-worker", above = 0, minutes = 1, statistic = "Sum", what = "Two accepted bids claim one place: run the audit." }
    unknown-version         = { metric = "bid_archive_unknown_version", service = "archival-worker", above = 0, minutes = 1, statistic = "Maximum", what = "Bids of a newer release wait: roll the archival worker first." }
    recovery-conflicts      = { metric = "bid_recovery_conflicts_total", service = "api-gateway", above = 0, minutes = 1, statistic = "Sum", what = "Redis and the stream contradict each other: run the audit." }
    recovery-without-stream = { metric = "bid_recoveries_without_stream_total", service = "api-gateway", above = 0, minutes = 1, statistic = "Sum", what = "Redis was opened while NATS was away: run the audit." }
    restore-needed          = { metric = "bid_restore_needed", service = "api-gateway", above = 0, minutes = 1, statistic = "Maximum", what = "Redis lacks what the stream cannot give back; every bid is refused: run restore." }
    redis-superseded        = { metric = "bid_redis_superseded", service = "api-gateway", above = 0, minutes = 1, statistic = "Maximum", what = "Two Redis servers are in use; this one refuses every bid: point the gateways at the right one and run the audit." }
    other-system            = { metric = "bid_other_system", service = "api-gateway", above = 0, minutes = 1, statistic = "Maximum", what = "Redis and NATS belong to different systems and every bid is refused: check REDIS_URL and NATS_URL." }
    relay-restarts          = { metric = "bid_relay_restarts_total", service = "api-gateway", above = 0, minutes = 1, statistic = "Sum", what = "A defect stopped the relay and it was restarted: report the traceback in its log." }
    refused-watermarks      = { metric = "bid_watermarks_refused_total", service = "api-gateway", above = 0, minutes = 1, statistic = "Sum", what = "Somebody else announces watermarks: find out who publishes on this NATS." }
    foreign-messages        = { metric = "bid_foreign_messages_total", service = "api-gateway", above = 0, minutes = 1, statistic = "Sum", what = "Somebody else publishes in the stream: find out who, and run the audit." }
    forgotten-bids          = { metric = "bid_forgotten_bids_total", service = "api-gateway", above = 0, minutes = 1, statistic = "Sum", what = "Redis came back without bids that were accepted: the audit names them." }
  }

  # CloudWatch dimensions of each service's tasks.
  tasks = { for name, service in merge(module.service, module.nats) : name => { ClusterName = aws_ecs_cluster.this.name, ServiceName = service.service_name } }

  load_balancer = { LoadBalancer = aws_lb.this.arn_suffix }
  redis_nodes   = { for number in range(1, var.redis_replicas + 2) : format("%s-%03d", local.name, number) => number }

  # Alarms on AWS' own metrics.
  aws_alarms = merge(
    {
      gateway-errors = { namespace = "AWS/ApplicationELB", metric = "HTTPCode_ELB_5XX_Count", dimensions = local.load_balancer, above = 10, minutes = 1, statistic = "Sum", what = "The load balancer finds nobody to answer." }
      target-errors  = { namespace = "AWS/ApplicationELB", metric = "HTTPCode_Target_5XX_Count", dimensions = local.load_balancer, above = 50, minutes = 2, statistic = "Sum", what = "Services answer 503: look at Redis." }
      database-cpu   = { namespace = "AWS/RDS", metric = "CPUUtilization", dimensions = { DBInstanceIdentifier = local.name }, above = 80, minutes = 10, statistic = "Average", what = "PostgreSQL is busy: a larger db_instance_class." }
    },
    {
      for name in keys(local.targets) : "unhealthy-${name}" => {
        namespace  = "AWS/ApplicationELB", metric = "UnHealthyHostCount"
        dimensions = merge(local.load_balancer, { TargetGroup = aws_lb_target_group.this[name].arn_suffix })
        above      = 0, minutes = 3, statistic = "Maximum", what = "Tasks of ${name} do not answer their health check."
      }
    },
    {
      for name, service in local.tasks : "cpu-${name}" => {
        namespace = "AWS/ECS", metric = "CPUUtilization", dimensions = service
        above     = 85, minutes = 5, statistic = "Average", what = "Tasks of ${name} are busy: more or larger ones."
      }
    },
    {
      for name, service in local.tasks : "memory-${name}" => {
        namespace = "AWS/ECS", metric = "MemoryUtilization", dimensions = service
        above     = 85, minutes = 5, statistic = "Maximum", what = "A task of ${name} is about to be killed for its memory: larger ones."
      }
    },
    {
      for node, number in local.redis_nodes : "redis-memory-${number}" => {
        namespace = "AWS/ElastiCache", metric = "DatabaseMemoryUsagePercentage", dimensions = { CacheClusterId = node }
        above     = 75, minutes = 3, statistic = "Maximum", what = "Redis fills up; full, it refuses bids: archive, or a larger redis_node_type."
      }
    },
    {
      for node, number in local.redis_nodes : "redis-cpu-${number}" => {
        namespace = "AWS/ElastiCache", metric = "EngineCPUUtilization", dimensions = { CacheClusterId = node }
        above     = 80, minutes = 3, statistic = "Maximum", what = "Redis' one thread is busy: a faster redis_node_type."
      }
    },
    {
      for node, number in local.redis_nodes : "redis-evictions-${number}" => {
        namespace = "AWS/ElastiCache", metric = "Evictions", dimensions = { CacheClusterId = node }
        above     = 0, minutes = 1, statistic = "Sum", what = "Redis evicts, which noeviction should never do: bids may be lost, run the audit."
      }
    },
    {
      for node, number in local.redis_nodes : "redis-lag-${number}" => {
        namespace = "AWS/ElastiCache", metric = "ReplicationLag", dimensions = { CacheClusterId = node }
        above     = 1, minutes = 3, statistic = "Maximum", what = "A replica of Redis is behind: a fail-over now would forget bids."
      } if var.redis_replicas > 0
    },
  )
}

resource "aws_sns_topic" "alarms" {
  # checkov:skip=CKV_AWS_26:alarms cannot use SNS' AWS-managed key, and they contain no secrets
  name = "${local.name}-alarms"
}

resource "aws_sns_topic_subscription" "email" {
  count = var.alarm_email == null ? 0 : 1

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

resource "aws_cloudwatch_metric_alarm" "own" {
  for_each = local.own_alarms

  alarm_name          = "${local.name}-${each.key}"
  alarm_description   = each.value.what
  namespace           = local.own_namespace
  metric_name         = each.value.metric
  dimensions          = { Service = each.value.service }
  statistic           = each.value.statistic
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.above
  period              = 60
  evaluation_periods  = each.value.minutes
  # Missing data means that no task runs; the silent- alarms cover that.
  treat_missing_data = "notBreaching"
  alarm_actions      = [aws_sns_topic.alarms.arn]
  ok_actions         = [aws_sns_topic.alarms.arn]
}

resource "aws_cloudwatch_metric_alarm" "aws" {
  for_each = local.aws_alarms

  alarm_name          = "${local.name}-${each.key}"
  alarm_description   = each.value.what
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.above
  period              = 60
  evaluation_periods  = each.value.minutes
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

locals {
  # Alarms on missing tasks. Services emit metrics every 30 seconds: silence means that no task runs.
  # NATS emits none, but Container Insights counts its tasks.
  least_alarms = merge(
    {
      for service, metric in { api-gateway = "bid_relay_leader", broadcast-service = "bid_viewers", archival-worker = "bid_archive_lag_seconds" } : "silent-${service}" => {
        namespace                          = local.own_namespace, metric = metric, dimensions = { Service = service }
        statistic                          = "SampleCount", minutes = 5, silence = "breaching", what = "No task of ${service} says anything: does any run?"
      }
    },
    {
      for node in local.nats_nodes : "silent-${node}" => {
        namespace = "ECS/ContainerInsights", metric = "RunningTaskCount", dimensions = local.tasks[node]
        statistic = "Maximum", minutes = 5, silence = "breaching", what = "No task of ${node} runs: bids wait in Redis."
      }
    },
    {
      nobody-relays = {
        namespace = local.own_namespace, metric = "bid_relay_leader", dimensions = { Service = "api-gateway" }
        statistic = "Maximum", minutes = 3, silence = "notBreaching", what = "Accepted bids wait in Redis, since no gateway relays: look at Redis, NATS and the gateways' log."
      }
    },
  )
}

resource "aws_cloudwatch_metric_alarm" "least" {
  for_each = local.least_alarms

  alarm_name          = "${local.name}-${each.key}"
  alarm_description   = each.value.what
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  period              = 60
  evaluation_periods  = each.value.minutes
  treat_missing_data  = each.value.silence
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

resource "aws_cloudwatch_metric_alarm" "database_storage" {
  alarm_name          = "${local.name}-database-storage"
  alarm_description   = "PostgreSQL has less than 2 GiB left; full, the archive stands still."
  namespace           = "AWS/RDS"
  metric_name         = "FreeStorageSpace"
  dimensions          = { DBInstanceIdentifier = local.name }
  statistic           = "Minimum"
  comparison_operator = "LessThanThreshold"
  threshold           = 2147483648
  period              = 60
  evaluation_periods  = 5
  treat_missing_data  = "missing"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}
