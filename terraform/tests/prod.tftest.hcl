# Prod, and values that dev allows and prod refuses.
mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

# Those of prod.tfvars, which a test compares, and what a user exports.
variables {
  environment             = "prod"
  zones                   = ["a", "b", "c"]
  nat_per_zone            = true
  log_retention_days      = 90
  redis_node_type         = "cache.r6g.large"
  redis_replicas          = 1
  db_instance_class       = "db.r6g.large"
  db_storage_gib          = 100
  db_multi_az             = true
  db_deletion_protection  = true
  db_final_snapshot       = true
  db_backup_days          = 14
  secret_recovery_days    = 30
  ecr_mutable             = false
  ecr_force_delete        = false
  alb_deletion_protection = true
  alb_access_logs         = true
  waf_requests_per_5_min  = 60000
  bid_strategy_override   = false
  outbox_max_entries      = 100000
  items_max               = 500000
  nats_clustered          = true
  nats_size               = { cpu = 1024, memory = 2048 }

  services = {
    api-gateway       = { cpu = 1024, memory = 2048, count = 6, max = 20 }
    broadcast-service = { cpu = 1024, memory = 2048, count = 4, max = 20 }
    archival-worker   = { cpu = 1024, memory = 2048, count = 2, max = 2 }
  }

  db_password      = "k7:Qm%2vT9xLr4Wd&p"
  nats_password    = "n@3/h:8%Zp5sYc1Fb"
  redis_auth_token = "r4Tz9mKq2Lx7Vb1Nc6Wd3Hs8Jf5Gp0Ya"
  image_tag        = "0123456789ab"
}

run "sizes" {
  command = plan

  assert {
    condition     = aws_elasticache_replication_group.this.node_type == "cache.r6g.large" && aws_elasticache_replication_group.this.num_cache_clusters == 2 && aws_elasticache_replication_group.this.automatic_failover_enabled && aws_elasticache_replication_group.this.multi_az_enabled
    error_message = "Redis must be cache.r6g.large with a replica, Multi-AZ and automatic fail-over."
  }

  assert {
    condition     = aws_elasticache_replication_group.this.auth_token == var.redis_auth_token && alltrue([for service in module.service : contains(service.container.secrets[*].name, "REDIS_PASSWORD")])
    error_message = "Redis must have a token, and every service a reference to it."
  }

  assert {
    condition     = aws_db_instance.this.instance_class == "db.r6g.large" && aws_db_instance.this.multi_az && aws_db_instance.this.deletion_protection && !aws_db_instance.this.skip_final_snapshot && !aws_db_instance.this.delete_automated_backups && aws_db_instance.this.backup_retention_period == 14 && aws_db_instance.this.allocated_storage == 100
    error_message = "PostgreSQL must be db.r6g.large with 100 GiB, Multi-AZ, protected, with backups for two weeks."
  }

  assert {
    condition     = sum([for service in merge(module.service, module.nats) : service.service.desired_count]) >= 10
    error_message = "There must be at least ten tasks."
  }

  assert {
    condition     = length(module.nats) == 3 && alltrue([for name, service in module.service : contains([for variable in service.container.environment : variable.value if variable.name == "STREAM_REPLICAS"], "3")])
    error_message = "NATS must be three servers, each with a copy of the stream."
  }

  assert {
    condition     = output.nats_url == "nats://nats-1.bidding-system.local:4222,nats://nats-2.bidding-system.local:4222,nats://nats-3.bidding-system.local:4222"
    error_message = "Services must know all three NATS servers."
  }

  assert {
    condition     = length(aws_nat_gateway.this) == length(aws_subnet.public) && length(aws_wafv2_web_acl.this) == 1 && length(aws_wafv2_web_acl_association.this) == 1 && length(aws_s3_bucket_policy.access_logs) == 1 && aws_lb.this.enable_deletion_protection
    error_message = "There must be a NAT gateway in each zone, a WAF, access logs and deletion protection."
  }

  assert {
    condition     = alltrue([for repository in aws_ecr_repository.this : repository.image_tag_mutability == "IMMUTABLE" && !repository.force_delete]) && endswith(module.service["api-gateway"].container.image, ":${var.image_tag}") && var.image_tag != "latest"
    error_message = "Images must be tagged with a commit and be immutable."
  }

  assert {
    condition     = alltrue([for variable in module.service["api-gateway"].container.environment : variable.value == "false" if variable.name == "BID_STRATEGY_OVERRIDE"])
    error_message = "Requests must not select their strategy in prod."
  }
}

run "protection_lifted" {
  command = plan

  variables {
    db_deletion_protection = false
  }

  assert {
    condition     = !aws_db_instance.this.skip_final_snapshot
    error_message = "PostgreSQL must leave a final snapshot even when its protection was lifted."
  }
}

run "a_mutable_tag" {
  command = plan

  variables {
    image_tag = "latest"
  }

  expect_failures = [var.image_tag]
}

run "redis_without_a_password" {
  command = plan

  variables {
    redis_auth_token = null
  }

  expect_failures = [var.redis_auth_token]
}

run "an_example_password_for_redis" {
  command = plan

  variables {
    redis_auth_token = "passwordpasswordpasswordpassword"
  }

  expect_failures = [var.redis_auth_token]
}
