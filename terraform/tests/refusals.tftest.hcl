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
    zone_count = 1
  }

  expect_failures = [var.zone_count]
}

run "a_certificate_that_is_none" {
  command = plan

  variables {
    certificate_arn = "example.org"
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
    secrets_version = 1.5
  }

  expect_failures = [var.secrets_version]
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
  }

  expect_failures = [var.certificate_arn]
}

run "more_zones_than_the_region_has" {
  command = plan

  variables {
    zone_count = 3
  }

  override_data {
    target = data.aws_availability_zones.available
    values = { names = ["us-east-1-bos-1a", "us-east-1a", "us-east-1b"] }
  }

  expect_failures = [data.aws_availability_zones.available]
}
