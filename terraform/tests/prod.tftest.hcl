# terraform test -filter=tests/prod.tftest.hcl -var-file=prod.tfvars
mock_provider "aws" {
  override_during = plan

  override_data {
    target = data.aws_caller_identity.current
    values = { account_id = "123456789012" }
  }

  override_data {
    target = data.aws_availability_zones.available
    values = { names = ["us-east-1a", "us-east-1b", "us-east-1c"] }
  }
}

variables {
  db_password   = "k7:Qm%2vT9xLr4Wd"
  nats_password = "n@3/h:8%Zp5sYc1Fb"

  redis_auth_token = "r4Tz9mKq2Lx7Vb1Nc6Wd3Hs8Jf5Gp0Ya"
}

run "stores_have_the_size_of_prod" {
  command = plan

  assert {
    condition     = aws_elasticache_replication_group.this.node_type == "cache.r6g.large"
    error_message = "Redis must be cache.r6g.large."
  }

  assert {
    condition     = aws_elasticache_replication_group.this.num_cache_clusters == 2 && aws_elasticache_replication_group.this.automatic_failover_enabled == true
    error_message = "Redis must have 2 node(s), fail-over true."
  }

  assert {
    condition     = aws_db_instance.this.instance_class == "db.r6g.large" && aws_db_instance.this.multi_az == true && aws_db_instance.this.deletion_protection == true
    error_message = "PostgreSQL must be db.r6g.large, Multi-AZ and protected: true."
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 2
    error_message = "There must be 2 NAT gateway(s)."
  }
}

run "stores_are_encrypted_and_private" {
  command = plan

  assert {
    condition     = aws_elasticache_replication_group.this.at_rest_encryption_enabled == "true" && aws_elasticache_replication_group.this.transit_encryption_enabled
    error_message = "Redis must be encrypted at rest and in transit."
  }

  assert {
    condition     = aws_db_instance.this.storage_encrypted && !aws_db_instance.this.publicly_accessible
    error_message = "PostgreSQL must be encrypted and private."
  }

  assert {
    condition     = anytrue([for parameter in aws_db_parameter_group.this.parameter : parameter.name == "rds.force_ssl" && parameter.value == "1"])
    error_message = "PostgreSQL must refuse connections without TLS."
  }

  assert {
    condition     = anytrue([for parameter in aws_elasticache_parameter_group.this.parameter : parameter.name == "maxmemory-policy" && parameter.value == "noeviction"])
    error_message = "Redis must never evict."
  }
}

run "only_the_load_balancer_is_open_to_the_world" {
  command = plan

  override_resource {
    target          = aws_security_group.this["alb"]
    override_during = plan
    values          = { id = "sg-alb" }
  }

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.world : rule.security_group_id == "sg-alb"])
    error_message = "A group other than the load balancer's is open to the world."
  }

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.flow : rule.cidr_ipv4 == null])
    error_message = "A rule between groups names addresses."
  }
}

run "repositories_are_scanned" {
  command = plan

  assert {
    condition     = length(aws_ecr_repository.this) == 4 && alltrue([for repository in aws_ecr_repository.this : repository.image_scanning_configuration[0].scan_on_push && repository.image_tag_mutability == "IMMUTABLE"])
    error_message = "There must be four repositories, scanned on push, IMMUTABLE."
  }
}

run "a_short_password_is_refused" {
  command = plan

  variables {
    db_password = "k7Qm"
  }

  expect_failures = [var.db_password]
}

run "a_password_with_an_example_s_word_is_refused" {
  command = plan

  variables {
    nats_password = "ChangeMe-ChangeMe-1"
  }

  expect_failures = [var.nats_password]
}

run "an_account_that_contradicts_emulated_is_refused" {
  command = plan

  variables {
    emulated = true
  }

  expect_failures = [data.aws_caller_identity.current]
}
