# What AWS would refuse half-way, or what nobody should deploy, is refused before anything is made.
mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

run "a_short_password" {
  command = plan

  variables {
    db_password = "k7Qm"
  }

  expect_failures = [var.db_password]
}

run "a_password_of_an_example" {
  command = plan

  variables {
    db_password = "ChangeMe-ChangeMe-1"
  }

  expect_failures = [var.db_password]
}

run "a_password_that_rds_refuses" {
  command = plan

  variables {
    db_password = "k7:Qm%2vT9x/r4Wd"
  }

  expect_failures = [var.db_password]
}

run "a_short_password_of_nats" {
  command = plan

  variables {
    nats_password = "n@3/h:8"
  }

  expect_failures = [var.nats_password]
}

run "a_password_of_nats_that_is_an_example_s" {
  command = plan

  variables {
    nats_password = "bidding-bidding-1234"
  }

  expect_failures = [var.nats_password]
}

run "a_short_token_of_redis" {
  command = plan

  variables {
    redis_auth_token = "r4Tz9mKq2Lx7Vb1N"
  }

  expect_failures = [var.redis_auth_token]
}

run "a_region_that_is_none" {
  command = plan

  variables {
    aws_region = "mars"
  }

  expect_failures = [var.aws_region]
}

run "an_unknown_environment" {
  command = plan

  variables {
    environment = "staging"
  }

  expect_failures = [var.environment]
}

run "a_network_that_is_too_small" {
  command = plan

  variables {
    vpc_cidr = "10.0.0.0/24"
  }

  expect_failures = [var.vpc_cidr]
}

run "one_zone" {
  command = plan

  variables {
    zones = ["a"]
  }

  expect_failures = [var.zones]
}

run "a_certificate_that_is_none" {
  command = plan

  variables {
    certificate_arn = "example.org"
    domain_name     = "bids.example.org"
  }

  expect_failures = [var.certificate_arn]
}

run "a_node_type_that_is_none" {
  command = plan

  variables {
    redis_node_type = "t3.micro"
  }

  expect_failures = [var.redis_node_type]
}

run "six_replicas" {
  command = plan

  variables {
    redis_replicas = 6
  }

  expect_failures = [var.redis_replicas]
}

run "more_replicas_to_wait_for_than_there_are" {
  command = plan

  variables {
    redis_min_replicas = 3
  }

  expect_failures = [var.redis_min_replicas]
}

run "an_instance_class_that_is_none" {
  command = plan

  variables {
    db_instance_class = "t3.micro"
  }

  expect_failures = [var.db_instance_class]
}

run "little_storage" {
  command = plan

  variables {
    db_storage_gib = 5
  }

  expect_failures = [var.db_storage_gib]
}

run "no_backups" {
  command = plan

  variables {
    db_backup_days = 0
  }

  expect_failures = [var.db_backup_days]
}

run "half_a_version" {
  command = plan

  variables {
    secrets_versions = { nats = 1.5 }
  }

  expect_failures = [var.secrets_versions]
}

run "a_secret_that_is_kept_three_days" {
  command = plan

  variables {
    secret_recovery_days = 3
  }

  expect_failures = [var.secret_recovery_days]
}

run "a_retention_that_cloudwatch_does_not_know" {
  command = plan

  variables {
    log_retention_days = 8
  }

  expect_failures = [var.log_retention_days]
}

run "a_tag_that_is_none" {
  command = plan

  variables {
    image_tag = "a tag"
  }

  expect_failures = [var.image_tag]
}

run "a_strategy_that_is_none" {
  command = plan

  variables {
    bid_strategy = "mutex"
  }

  expect_failures = [var.bid_strategy]
}

run "nats_of_any_version" {
  command = plan

  variables {
    nats_image = "nats:latest"
  }

  expect_failures = [var.nats_image]
}

run "a_stream_without_room" {
  command = plan

  variables {
    stream_max_bytes = 1000
  }

  expect_failures = [var.stream_max_bytes]
}

run "a_rate_that_waf_refuses" {
  command = plan

  variables {
    waf_requests_per_5_min = 5
  }

  expect_failures = [var.waf_requests_per_5_min]
}

run "an_address_that_is_none" {
  command = plan

  variables {
    alarm_email = "ops"
  }

  expect_failures = [var.alarm_email]
}

run "fewer_tasks_at_most_than_at_least" {
  command = plan

  variables {
    services = {
      api-gateway       = { cpu = 256, memory = 512, count = 2, max = 1 }
      broadcast-service = { cpu = 256, memory = 512, count = 1, max = 2 }
      archival-worker   = { cpu = 256, memory = 512, count = 1, max = 1 }
    }
  }

  expect_failures = [var.services]
}

run "a_worker_that_scales" {
  command = plan

  variables {
    services = {
      api-gateway       = { cpu = 256, memory = 512, count = 2, max = 4 }
      broadcast-service = { cpu = 256, memory = 512, count = 1, max = 2 }
      archival-worker   = { cpu = 256, memory = 512, count = 1, max = 3 }
    }
  }

  expect_failures = [var.services]
}

run "a_size_that_fargate_does_not_have" {
  command = plan

  variables {
    services = {
      api-gateway       = { cpu = 300, memory = 77, count = 2, max = 4 }
      broadcast-service = { cpu = 256, memory = 512, count = 1, max = 2 }
      archival-worker   = { cpu = 256, memory = 512, count = 1, max = 1 }
    }
  }

  expect_failures = [var.services]
}

run "a_size_of_nats_that_fargate_does_not_have" {
  command = plan

  variables {
    nats_size = { cpu = 256, memory = 4096 }
  }

  expect_failures = [var.nats_size]
}

run "an_example_s_passwords" {
  command = plan

  variables {
    db_password = "CHANGE_ME"
  }

  expect_failures = [var.db_password]
}

run "a_certificate_of_another_region" {
  command = plan

  variables {
    certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
    domain_name     = "bids.example.org"
  }

  expect_failures = [var.certificate_arn]
}

run "a_zone_that_the_account_does_not_have" {
  command = plan

  override_data {
    target = data.aws_availability_zones.available
    values = { names = ["us-east-1-bos-1a", "us-east-1a", "us-east-1c"] }
  }

  expect_failures = [data.aws_availability_zones.available]
}

run "the_same_zone_twice" {
  command = plan

  variables {
    zones = ["a", "a", "b"]
  }

  expect_failures = [var.zones]
}

run "three_servers_in_two_zones" {
  command = plan

  variables {
    nats_clustered = true
  }

  expect_failures = [var.nats_clustered]
}

run "a_boundary_that_is_none" {
  command = plan

  variables {
    permissions_boundary = "bidding-system-boundary"
  }

  expect_failures = [var.permissions_boundary]
}

run "a_network_of_public_addresses" {
  command = plan

  variables {
    vpc_cidr = "8.8.0.0/16"
  }

  expect_failures = [var.vpc_cidr]
}

run "a_family_of_nodes_that_is_none" {
  command = plan

  variables {
    redis_node_type = "cache.z9.large"
  }

  expect_failures = [var.redis_node_type]
}

run "a_size_of_node_that_is_none" {
  command = plan

  variables {
    redis_node_type = "cache.r6g.micro"
  }

  expect_failures = [var.redis_node_type]
}

run "a_class_that_cannot_run_postgresql_15" {
  command = plan

  variables {
    db_instance_class = "db.t2.micro"
  }

  expect_failures = [var.db_instance_class]
}

run "a_class_whose_size_is_none" {
  command = plan

  variables {
    db_instance_class = "db.r6g.micro"
  }

  expect_failures = [var.db_instance_class]
}

run "a_stream_that_services_refuse" {
  command = plan

  variables {
    stream_max_bytes = 1099511627777
  }

  expect_failures = [var.stream_max_bytes]
}

run "nats_from_a_private_repository" {
  command = plan

  variables {
    nats_image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/nats:2.15.1"
  }

  expect_failures = [var.nats_image]
}

run "an_outbox_without_room" {
  command = plan

  variables {
    outbox_max_entries = 10
  }

  expect_failures = [var.outbox_max_entries]
}

run "a_token_that_elasticache_refuses" {
  command = plan

  variables {
    redis_auth_token = "r4Tz9mKq2Lx7Vb1Nc6Wd3Hs8Jf5Gp0Y/"
  }

  expect_failures = [var.redis_auth_token]
}

run "a_name_that_is_none" {
  command = plan

  variables {
    domain_name = "bids"
  }

  expect_failures = [var.domain_name]
}

run "a_name_without_a_certificate" {
  command = plan

  variables {
    domain_name = "bids.example.org"
  }

  expect_failures = [var.domain_name]
}

run "a_certificate_without_a_name" {
  command = plan

  variables {
    certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
  }

  expect_failures = [var.domain_name]
}

run "a_service_that_nobody_knows" {
  command = plan

  variables {
    services = {
      api-gateway       = { cpu = 256, memory = 512, count = 2, max = 4 }
      broadcast-service = { cpu = 256, memory = 512, count = 1, max = 2 }
      worker            = { cpu = 256, memory = 512, count = 1, max = 1 }
    }
  }

  expect_failures = [var.services]
}

run "no_task_at_all" {
  command = plan

  variables {
    services = {
      api-gateway       = { cpu = 256, memory = 512, count = 0, max = 4 }
      broadcast-service = { cpu = 256, memory = 512, count = 1, max = 2 }
      archival-worker   = { cpu = 256, memory = 512, count = 1, max = 1 }
    }
  }

  expect_failures = [var.services]
}

run "more_tasks_than_anybody_needs" {
  command = plan

  variables {
    services = {
      api-gateway       = { cpu = 256, memory = 512, count = 2, max = 101 }
      broadcast-service = { cpu = 256, memory = 512, count = 1, max = 2 }
      archival-worker   = { cpu = 256, memory = 512, count = 1, max = 1 }
    }
  }

  expect_failures = [var.services]
}
