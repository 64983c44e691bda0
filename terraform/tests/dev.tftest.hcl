# Dev.
mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

run "sizes" {
  command = plan

  assert {
    condition     = aws_elasticache_replication_group.this.node_type == "cache.t3.micro" && aws_elasticache_replication_group.this.num_cache_clusters == 1 && !aws_elasticache_replication_group.this.automatic_failover_enabled
    error_message = "Redis must be one cache.t3.micro."
  }

  assert {
    condition     = aws_db_instance.this.instance_class == "db.t3.micro" && !aws_db_instance.this.multi_az && !aws_db_instance.this.deletion_protection && aws_db_instance.this.skip_final_snapshot
    error_message = "PostgreSQL must be one unprotected db.t3.micro."
  }

  assert {
    condition     = { for name, service in module.service : name => service.service.desired_count } == { "api-gateway" = 2, "broadcast-service" = 1, "archival-worker" = 1 } && keys(module.nats) == ["nats"]
    error_message = "There must be 2 API, 1 broadcast, 1 archival and 1 NATS tasks."
  }

  assert {
    condition     = output.nats_url == "nats://nats.bidding-system.local:4222"
    error_message = "Services must find NATS at nats.bidding-system.local."
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 1 && length(aws_wafv2_web_acl.this) == 0 && length(aws_s3_bucket.access_logs) == 0 && !aws_lb.this.enable_deletion_protection
    error_message = "To save cost there must be one NAT gateway, no WAF and no access logs."
  }

  assert {
    condition     = alltrue([for repository in aws_ecr_repository.this : repository.image_tag_mutability == "MUTABLE" && repository.force_delete]) && endswith(module.service["api-gateway"].container.image, ":latest")
    error_message = "Images must be tagged latest, mutable, and deleted with their repositories."
  }
}

run "https_with_a_certificate" {
  command = plan

  variables {
    certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
    domain_name     = "bids.example.org"
  }

  assert {
    condition     = aws_lb_listener.http.default_action[0].type == "redirect" && aws_lb_listener.http.default_action[0].redirect[0].protocol == "HTTPS" && length(aws_lb_listener.https) == 1
    error_message = "With a certificate HTTP must redirect to HTTPS."
  }

  assert {
    condition     = startswith(output.alb_url, "https://") && startswith(output.ws_url, "wss://") && length(aws_vpc_security_group_ingress_rule.world) == 2
    error_message = "With a certificate the URLs must be https and wss, and port 443 must be open."
  }
}

run "a_shell_in_tasks" {
  command = plan

  variables {
    execute_command = true
  }

  assert {
    condition     = alltrue([for service in merge(module.service, module.nats) : service.service.execute_command && !service.container.readonlyRootFilesystem && anytrue([for policy in service.policies : strcontains(policy, "ssmmessages:OpenDataChannel")])])
    error_message = "ECS Exec needs its ssmmessages permissions and a writable root file system."
  }
}
