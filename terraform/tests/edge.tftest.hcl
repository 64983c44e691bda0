# Load balancer, scaling and alarms, for both dev and prod.
mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

# Distinct ARNs, so that a reference to the wrong resource is noticed.
override_resource {
  target          = aws_lb_target_group.this["api-gateway"]
  override_during = plan
  values          = { arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/api/1", arn_suffix = "targetgroup/api/1" }
}

override_resource {
  target          = aws_lb_target_group.this["broadcast-service"]
  override_during = plan
  values          = { arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/broadcast/2", arn_suffix = "targetgroup/broadcast/2" }
}

override_resource {
  target          = aws_lb_listener.http
  override_during = plan
  values          = { arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:listener/app/bidding-system/1/80" }
}

override_resource {
  target          = aws_lb_listener.https[0]
  override_during = plan
  values          = { arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:listener/app/bidding-system/1/443" }
}

override_resource {
  target          = aws_security_group.this["alb"]
  override_during = plan
  values          = { id = "sg-alb" }
}

override_resource {
  target          = aws_subnet.public
  override_during = plan
  values          = { id = "subnet-public" }
}

run "http" {
  command = plan

  # Load balancer

  assert {
    condition     = aws_lb.this.load_balancer_type == "application" && aws_lb.this.subnets == toset(["subnet-public"]) && aws_lb.this.security_groups == toset(["sg-alb"])
    error_message = "The load balancer must be in the public subnets and its own security group."
  }

  assert {
    condition     = aws_lb.this.enable_deletion_protection == var.alb_deletion_protection && [for logs in aws_lb.this.access_logs : "${logs.enabled} ${logs.prefix}"] == [for bucket in aws_s3_bucket.access_logs : "true alb"]
    error_message = "Deletion protection and access logs must follow the variables."
  }

  assert {
    condition     = [output.alb_url, output.ws_url] == ["http://bidding-system-1.us-east-1.elb.amazonaws.com", "ws://bidding-system-1.us-east-1.elb.amazonaws.com"]
    error_message = "Without a certificate the URLs must use the load balancer's name."
  }

  assert {
    condition     = [aws_lb_listener.http.port, aws_lb_listener.http.protocol] == [80, "HTTP"] && length(aws_lb_listener.https) == 0 && aws_lb_listener.http.default_action[0].type == "forward" && aws_lb_listener.http.default_action[0].target_group_arn == aws_lb_target_group.this["api-gateway"].arn
    error_message = "Without a certificate port 80 must forward to the API."
  }

  assert {
    condition     = aws_lb_listener_rule.broadcast.action[0].type == "forward" && aws_lb_listener_rule.broadcast.action[0].target_group_arn == aws_lb_target_group.this["broadcast-service"].arn
    error_message = "WebSockets must be forwarded to the broadcast service."
  }

  assert {
    condition     = aws_lb_listener_rule.hidden.action[0].type == "fixed-response" && aws_lb_listener_rule.hidden.action[0].fixed_response[0].content_type == "application/json" && jsondecode(aws_lb_listener_rule.hidden.action[0].fixed_response[0].message_body).code == "not_found"
    error_message = "Hidden paths must get the services' own 404, in JSON."
  }

  assert {
    condition     = toset([aws_lb_listener_rule.hidden.listener_arn, aws_lb_listener_rule.broadcast.listener_arn]) == toset([aws_lb_listener.http.arn])
    error_message = "Without a certificate the rules must be on port 80's listener."
  }

  assert {
    condition     = alltrue([for name, group in aws_lb_target_group.this : group.port == module.service[name].container.portMappings[0].containerPort && group.protocol == "HTTP" && tolist(module.service[name].service.target_groups) == tolist([group.arn])])
    error_message = "Each target group must belong to its service and use its container's port."
  }

  assert {
    condition     = alltrue([for group in aws_lb_target_group.this : group.health_check[0].matcher == "200" && group.health_check[0].timeout < group.health_check[0].interval && group.health_check[0].interval * group.health_check[0].unhealthy_threshold <= 30])
    error_message = "A task that does not answer must be removed within 30 s."
  }

  assert {
    condition     = alltrue([for name, group in aws_lb_target_group.this : tonumber(group.deregistration_delay) >= local.deregister_s && tonumber(group.deregistration_delay) <= module.service[name].container.stopTimeout && group.stickiness[0].type == "lb_cookie"])
    error_message = "The deregistration delay must be at least the time a task keeps accepting and at most the time it has to stop."
  }

  # Access logs

  assert {
    condition     = length(aws_s3_bucket.access_logs) == (var.alb_access_logs ? 1 : 0) && alltrue([for bucket in aws_s3_bucket.access_logs : bucket.force_destroy == !var.alb_deletion_protection])
    error_message = "The bucket must exist only with alb_access_logs, and be emptied on destroy only without alb_deletion_protection."
  }

  assert {
    condition     = length(aws_s3_bucket_public_access_block.access_logs) == length(aws_s3_bucket.access_logs) && alltrue([for block in aws_s3_bucket_public_access_block.access_logs : block.block_public_acls && block.block_public_policy && block.ignore_public_acls && block.restrict_public_buckets])
    error_message = "The access logs must not be public."
  }

  assert {
    condition     = flatten([for bucket in aws_s3_bucket_server_side_encryption_configuration.access_logs : [for rule in bucket.rule : rule.apply_server_side_encryption_by_default[*].sse_algorithm]]) == [for bucket in aws_s3_bucket.access_logs : "AES256"]
    error_message = "Access logs must be encrypted with AES256, the only kind that load balancers support."
  }

  assert {
    condition     = flatten([for bucket in aws_s3_bucket_lifecycle_configuration.access_logs : [for rule in bucket.rule : "${rule.status} ${rule.expiration[0].days}"]]) == [for bucket in aws_s3_bucket.access_logs : "Enabled ${var.log_retention_days}"]
    error_message = "Access logs must expire like other logs."
  }

  assert {
    condition = alltrue([for bucket in aws_s3_bucket_policy.access_logs : { for statement in jsondecode(bucket.policy).Statement : statement.Sid => [statement.Effect, statement.Action, statement.Resource, statement.Principal, try(statement.Condition, {})] } == {
      LoadBalancersWrite = ["Allow", "s3:PutObject", "${aws_s3_bucket.access_logs[0].arn}/alb/AWSLogs/123456789012/*", { Service = "logdelivery.elasticloadbalancing.amazonaws.com" }, {}]
      OnlyEncrypted      = ["Deny", "s3:*", [aws_s3_bucket.access_logs[0].arn, "${aws_s3_bucket.access_logs[0].arn}/*"], "*", { Bool = { "aws:SecureTransport" = "false" } }]
    }])
    error_message = "The bucket's policy must only let load balancers write their logs, over TLS."
  }

  # WAF

  assert {
    condition     = alltrue([for acl in aws_wafv2_web_acl.this : acl.scope == "REGIONAL" && length(acl.default_action[0].allow) == 1 && [for rule in acl.rule : [rule.statement[0].rate_based_statement[0].limit, rule.statement[0].rate_based_statement[0].aggregate_key_type, length(rule.action[0].block)] if rule.name == "rate"] == [[var.waf_requests_per_5_min, "IP", 1]]])
    error_message = "The WAF must block only addresses above waf_requests_per_5_min."
  }

  assert {
    condition     = alltrue([for acl in aws_wafv2_web_acl.this : [for rule in acl.rule : "${rule.statement[0].managed_rule_group_statement[0].name} ${length(rule.override_action[0].none)}" if rule.name == "known-bad-inputs"] == ["AWSManagedRulesKnownBadInputsRuleSet 1"]])
    error_message = "The WAF must block known bad inputs, not only count them."
  }

  assert {
    condition     = [for association in aws_wafv2_web_acl_association.this : [association.resource_arn, association.web_acl_arn]] == [for acl in aws_wafv2_web_acl.this : [aws_lb.this.arn, acl.arn]]
    error_message = "The WAF must be attached to the load balancer."
  }

  # Scaling

  assert {
    condition     = { for name, target in aws_appautoscaling_target.this : name => [target.service_namespace, target.scalable_dimension, target.resource_id] } == { for name in ["api-gateway", "broadcast-service"] : name => ["ecs", "ecs:service:DesiredCount", "service/bidding-system-cluster/bidding-system-${name}"] }
    error_message = "Autoscaling must change the two services' number of tasks."
  }

  assert {
    condition     = alltrue([for name, policy in aws_appautoscaling_policy.cpu : policy.resource_id == aws_appautoscaling_target.this[name].resource_id && policy.target_tracking_scaling_policy_configuration[0].predefined_metric_specification[0].predefined_metric_type == "ECSServiceAverageCPUUtilization" && policy.target_tracking_scaling_policy_configuration[0].target_value < aws_cloudwatch_metric_alarm.aws["cpu-${name}"].threshold]) && length(aws_appautoscaling_policy.cpu) == 2
    error_message = "Both services must scale by CPU, below the alarm's threshold."
  }

  assert {
    condition     = aws_appautoscaling_policy.requests.resource_id == aws_appautoscaling_target.this["api-gateway"].resource_id && aws_appautoscaling_policy.requests.target_tracking_scaling_policy_configuration[0].predefined_metric_specification[0].predefined_metric_type == "ALBRequestCountPerTarget" && aws_appautoscaling_policy.requests.target_tracking_scaling_policy_configuration[0].predefined_metric_specification[0].resource_label == "app/bidding-system/50dc6c495c0c9188/targetgroup/api/1"
    error_message = "The API must scale by requests per target of its own target group."
  }

  assert {
    condition     = alltrue([for policy in concat(values(aws_appautoscaling_policy.cpu), [aws_appautoscaling_policy.requests]) : policy.policy_type == "TargetTrackingScaling" && policy.target_tracking_scaling_policy_configuration[0].scale_out_cooldown < policy.target_tracking_scaling_policy_configuration[0].scale_in_cooldown])
    error_message = "Services must scale out faster than in, which disconnects viewers."
  }

  # Alarms; tests/terraform compares with the code which of the services' metrics have one

  assert {
    condition     = alltrue([for alarm in concat(values(aws_cloudwatch_metric_alarm.own), values(aws_cloudwatch_metric_alarm.aws), values(aws_cloudwatch_metric_alarm.least), [aws_cloudwatch_metric_alarm.database_storage]) : alarm.alarm_actions == toset([aws_sns_topic.alarms.arn]) && alarm.ok_actions == toset([aws_sns_topic.alarms.arn]) && length(alarm.alarm_description) > 20 && coalesce(alarm.actions_enabled, true)])
    error_message = "Every alarm must notify when it starts and ends, and say what to do."
  }

  assert {
    condition     = alltrue([for alarm in concat(values(aws_cloudwatch_metric_alarm.own), values(aws_cloudwatch_metric_alarm.aws), values(aws_cloudwatch_metric_alarm.least), [aws_cloudwatch_metric_alarm.database_storage]) : alarm.period == 60 && alarm.evaluation_periods <= 10])
    error_message = "Periods must be one minute, which has two of the services' metric lines, and alarms must go off within ten."
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.own : endswith(alarm.metric_name, "_total") ? [alarm.statistic, tostring(alarm.threshold), tostring(alarm.evaluation_periods)] == ["Sum", "0", "1"] : alarm.statistic == "Maximum"])
    error_message = "Counters of failures must alarm at the first increase; gauges must use the worst task's value."
  }

  assert {
    condition     = toset(values(aws_cloudwatch_metric_alarm.own)[*].treat_missing_data) == toset(["notBreaching"]) && toset(values(aws_cloudwatch_metric_alarm.aws)[*].treat_missing_data) == toset(["notBreaching"]) && alltrue([for name, alarm in aws_cloudwatch_metric_alarm.least : alarm.treat_missing_data == (startswith(name, "silent-") ? "breaching" : "notBreaching")]) && aws_cloudwatch_metric_alarm.database_storage.treat_missing_data == "missing"
    error_message = "Missing data must be an alarm only for services that always emit."
  }

  assert {
    condition = alltrue([for alarm in aws_cloudwatch_metric_alarm.least : [alarm.comparison_operator, tostring(alarm.threshold)] == ["LessThanThreshold", "1"]]) && toset([for name, alarm in aws_cloudwatch_metric_alarm.least : "${name} ${alarm.statistic} ${alarm.metric_name} ${jsonencode(alarm.dimensions)}"]) == toset(concat(
      [for name, metric in { api-gateway = "bid_relay_leader", broadcast-service = "bid_viewers", archival-worker = "bid_archive_lag_seconds" } : "silent-${name} SampleCount ${metric} ${jsonencode({ Service = name })}"],
      [for node in keys(module.nats) : "silent-${node} Maximum RunningTaskCount ${jsonencode({ ClusterName = "bidding-system-cluster", ServiceName = "bidding-system-${node}" })}"],
      ["nobody-relays Maximum bid_relay_leader ${jsonencode({ Service = "api-gateway" })}"],
    ))
    error_message = "There must be alarms for a silent service, for NATS not running, and for no relay."
  }

  assert {
    condition     = toset([for alarm in aws_cloudwatch_metric_alarm.aws : jsonencode(alarm.dimensions) if alarm.metric_name == "UnHealthyHostCount"]) == toset([for group in aws_lb_target_group.this : jsonencode({ LoadBalancer = aws_lb.this.arn_suffix, TargetGroup = group.arn_suffix })])
    error_message = "Unhealthy tasks of both target groups must have alarms."
  }

  assert {
    condition     = alltrue([for metric in ["CPUUtilization", "MemoryUtilization"] : toset([for alarm in aws_cloudwatch_metric_alarm.aws : jsonencode(alarm.dimensions) if alarm.namespace == "AWS/ECS" && alarm.metric_name == metric]) == toset([for service in merge(module.service, module.nats) : jsonencode({ ClusterName = "bidding-system-cluster", ServiceName = service.service_name })])])
    error_message = "CPU and memory of every service must have alarms."
  }

  assert {
    condition     = { for name, alarm in aws_cloudwatch_metric_alarm.own : name => alarm.threshold } == { outbox-age = 60, items = floor(var.items_max * 0.8), archive-lag = 60, dead-letters = 0, conflicts = 0, unknown-version = 0, recovery-conflicts = 0, recovery-without-stream = 0, other-system = 0, restore-needed = 0, forgotten-bids = 0, redis-superseded = 0, relay-restarts = 0, refused-watermarks = 0, foreign-messages = 0 }
    error_message = "The thresholds of the services' alarms changed."
  }

  assert {
    condition     = { for name, alarm in aws_cloudwatch_metric_alarm.aws : name => alarm.threshold if strcontains(name, "errors") || strcontains(name, "unhealthy") } == { gateway-errors = 10, target-errors = 50, unhealthy-api-gateway = 0, unhealthy-broadcast-service = 0 }
    error_message = "The thresholds of the load balancer's alarms changed."
  }

  assert {
    condition     = toset(concat([for alarm in aws_cloudwatch_metric_alarm.aws : alarm.dimensions.DBInstanceIdentifier if alarm.namespace == "AWS/RDS"], [aws_cloudwatch_metric_alarm.database_storage.dimensions.DBInstanceIdentifier])) == toset([aws_db_instance.this.identifier])
    error_message = "PostgreSQL's alarms must watch this instance."
  }

  assert {
    condition = alltrue([for metric in var.redis_replicas == 0 ? ["DatabaseMemoryUsagePercentage", "EngineCPUUtilization", "Evictions"] : ["DatabaseMemoryUsagePercentage", "EngineCPUUtilization", "Evictions", "ReplicationLag"] :
      toset([for alarm in aws_cloudwatch_metric_alarm.aws : alarm.dimensions.CacheClusterId if alarm.metric_name == metric]) == toset([for number in range(var.redis_replicas + 1) : "bidding-system-00${number + 1}"])
    ])
    error_message = "Every Redis node must have alarms: any may become the primary."
  }

  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.aws : alarm.comparison_operator == "GreaterThanThreshold" && (alarm.metric_name == "Evictions" ? alarm.threshold == 0 : !strcontains(alarm.metric_name, "CPU") && !strcontains(alarm.metric_name, "Percentage") || alarm.threshold < 90)])
    error_message = "Usage alarms must leave headroom, and any eviction must be an alarm."
  }

  assert {
    condition     = [aws_cloudwatch_metric_alarm.database_storage.metric_name, aws_cloudwatch_metric_alarm.database_storage.comparison_operator, aws_cloudwatch_metric_alarm.database_storage.statistic] == ["FreeStorageSpace", "LessThanThreshold", "Minimum"] && aws_cloudwatch_metric_alarm.database_storage.threshold >= 1073741824
    error_message = "There must be an alarm before PostgreSQL's storage is full."
  }

  assert {
    condition     = length(aws_sns_topic_subscription.email) == 0
    error_message = "Without alarm_email there must be no email subscription."
  }
}

run "https" {
  command = plan

  variables {
    certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
    domain_name     = "bids.example.org"
    alarm_email     = "ops@example.org"
  }

  assert {
    condition     = [output.alb_url, output.ws_url] == ["https://bids.example.org", "wss://bids.example.org"]
    error_message = "With a certificate the URLs must use domain_name."
  }

  assert {
    condition     = [for redirect in aws_lb_listener.http.default_action[0].redirect : [redirect.protocol, redirect.port, redirect.status_code]] == [["HTTPS", "443", "HTTP_301"]]
    error_message = "Port 80 must redirect permanently to 443."
  }

  assert {
    condition     = [for listener in aws_lb_listener.https : [tostring(listener.port), listener.protocol, listener.certificate_arn, listener.default_action[0].type, listener.default_action[0].target_group_arn]] == [["443", "HTTPS", var.certificate_arn, "forward", aws_lb_target_group.this["api-gateway"].arn]]
    error_message = "Port 443 must forward to the API and use the certificate."
  }

  assert {
    condition     = alltrue([for listener in aws_lb_listener.https : startswith(listener.ssl_policy, "ELBSecurityPolicy-TLS13-1-2-")])
    error_message = "TLS below 1.2 must be refused."
  }

  assert {
    condition     = toset([aws_lb_listener_rule.hidden.listener_arn, aws_lb_listener_rule.broadcast.listener_arn]) == toset([aws_lb_listener.https[0].arn])
    error_message = "With a certificate the rules must be on port 443's listener: on port 80's they would hide nothing."
  }

  assert {
    condition     = [for subscription in aws_sns_topic_subscription.email : [subscription.topic_arn, subscription.protocol, subscription.endpoint]] == [[aws_sns_topic.alarms.arn, "email", "ops@example.org"]]
    error_message = "Alarms must be emailed to alarm_email."
  }
}
