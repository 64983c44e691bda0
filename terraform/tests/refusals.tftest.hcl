# What AWS would refuse half-way, or what nobody should deploy, is refused before anything is made. Many
# at once, since each run takes seconds: a value that is not refused is named all the same. What is
# asked of two variables together is not asked while the other one is wrong.
mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

run "what_aws_refuses_or_nobody_should_deploy" {
  command = plan

  variables {
    db_password            = "k7Qm"                       # short
    redis_auth_token       = "r4Tz9mKq2Lx7Vb1N"           # short
    aws_region             = "mars"                       # none
    vpc_cidr               = "10.0.0.0/24"                # too small for sixteen subnets
    zones                  = ["a"]                        # a load balancer needs two
    permissions_boundary   = "bidding-system-boundary"    # no ARN
    redis_node_type        = "t3.micro"                   # no node type
    redis_replicas         = 6                            # five at most
    db_instance_class      = "t3.micro"                   # no class
    db_storage_gib         = 5                            # 20 at least
    db_backup_days         = 0                            # none
    secrets_versions       = { nats = 1.5 }               # half a version
    secret_recovery_days   = 3                            # 0, or 7 at least
    log_retention_days     = 8                            # unknown to CloudWatch
    image_tag              = "a tag"                      # a blank
    bid_strategy           = "mutex"                      # none
    outbox_max_entries     = 10                           # no room
    nats_image             = "nats:latest"                # any version
    nats_size              = { cpu = 256, memory = 4096 } # Fargate has no such size
    stream_max_bytes       = 1000                         # no room
    waf_requests_per_5_min = 5                            # 10 at least
    alarm_email            = "ops"                        # no address

    # fewer at most than at least
    services = {
      api-gateway       = { cpu = 256, memory = 512, count = 2, max = 1 }
      broadcast-service = { cpu = 256, memory = 512, count = 1, max = 2 }
      archival-worker   = { cpu = 256, memory = 512, count = 1, max = 1 }
    }
  }

  expect_failures = [
    var.db_password,
    var.redis_auth_token,
    var.aws_region,
    var.vpc_cidr,
    var.zones,
    var.permissions_boundary,
    var.redis_node_type,
    var.redis_replicas,
    var.db_instance_class,
    var.db_storage_gib,
    var.db_backup_days,
    var.secrets_versions,
    var.secret_recovery_days,
    var.log_retention_days,
    var.image_tag,
    var.bid_strategy,
    var.outbox_max_entries,
    var.nats_image,
    var.nats_size,
    var.stream_max_bytes,
    var.waf_requests_per_5_min,
    var.alarm_email,
    var.services,
  ]
}

run "in_other_ways" {
  command = plan

  variables {
    domain_name        = "bids.example.org"
    db_password        = "ChangeMe-ChangeMe-1"                                      # an example's
    redis_auth_token   = "r4Tz9mKq2Lx7Vb1Nc6Wd3Hs8Jf5Gp0Y/"                         # a sign that ElastiCache refuses
    vpc_cidr           = "8.8.0.0/16"                                               # public addresses
    zones              = ["a", "a", "b"]                                            # the same twice
    redis_node_type    = "cache.z9.large"                                           # no such family
    redis_min_replicas = 3                                                          # more than there are
    db_instance_class  = "db.t2.micro"                                              # cannot run PostgreSQL 15
    certificate_arn    = "example.org"                                              # no ARN
    stream_max_bytes   = 1099511627777                                              # services refuse it
    nats_image         = "123456789012.dkr.ecr.us-east-1.amazonaws.com/nats:2.15.1" # tasks may not pull it

    # the worker does not scale
    services = {
      api-gateway       = { cpu = 256, memory = 512, count = 2, max = 4 }
      broadcast-service = { cpu = 256, memory = 512, count = 1, max = 2 }
      archival-worker   = { cpu = 256, memory = 512, count = 1, max = 3 }
    }
  }

  expect_failures = [
    var.db_password,
    var.redis_auth_token,
    var.vpc_cidr,
    var.zones,
    var.redis_node_type,
    var.redis_min_replicas,
    var.db_instance_class,
    var.certificate_arn,
    var.stream_max_bytes,
    var.nats_image,
    var.services,
  ]
}

run "in_yet_other_ways" {
  command = plan

  variables {
    domain_name       = "bids.example.org"
    environment       = "staging"                                                                             # dev or prod
    db_password       = "k7:Qm%2vT9x/r4Wd"                                                                    # RDS refuses the slash
    redis_node_type   = "cache.r6g.micro"                                                                     # no such size
    db_instance_class = "db.r6g.micro"                                                                        # no such size
    certificate_arn   = "arn:aws:acm:eu-west-1:123456789012:certificate/00000000-0000-0000-0000-000000000000" # of another region
    nats_clustered    = true                                                                                  # three servers in two zones

    # Fargate has no such size
    services = {
      api-gateway       = { cpu = 300, memory = 77, count = 2, max = 4 }
      broadcast-service = { cpu = 256, memory = 512, count = 1, max = 2 }
      archival-worker   = { cpu = 256, memory = 512, count = 1, max = 1 }
    }
  }

  expect_failures = [
    var.environment,
    var.db_password,
    var.redis_node_type,
    var.db_instance_class,
    var.certificate_arn,
    var.nats_clustered,
    var.services,
  ]
}

run "an_example_and_a_name_without_a_certificate" {
  command = plan

  variables {
    db_password = "CHANGE_ME"
    domain_name = "bids.example.org"

    services = {
      api-gateway       = { cpu = 256, memory = 512, count = 2, max = 4 }
      broadcast-service = { cpu = 256, memory = 512, count = 1, max = 2 }
      worker            = { cpu = 256, memory = 512, count = 1, max = 1 }
    }
  }

  expect_failures = [
    var.db_password,
    var.domain_name,
    var.services,
  ]
}

run "what_is_asked_together_with_others" {
  command = plan

  variables {
    nats_password   = "n@3/h:8" # short
    certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"

    services = {
      api-gateway       = { cpu = 256, memory = 512, count = 0, max = 4 }
      broadcast-service = { cpu = 256, memory = 512, count = 1, max = 2 }
      archival-worker   = { cpu = 256, memory = 512, count = 1, max = 1 }
    }
  }

  expect_failures = [
    var.nats_password,
    var.domain_name,
    var.services,
  ]
}

run "what_is_left" {
  command = plan

  variables {
    nats_password = "bidding-bidding-1234" # an example's
    domain_name   = "bids"                 # no host

    services = {
      api-gateway       = { cpu = 256, memory = 512, count = 2, max = 101 }
      broadcast-service = { cpu = 256, memory = 512, count = 1, max = 2 }
      archival-worker   = { cpu = 256, memory = 512, count = 1, max = 1 }
    }
  }

  expect_failures = [
    var.nats_password,
    var.domain_name,
    var.services,
  ]
}

run "a_zone_that_the_account_does_not_have" {
  command = plan

  override_data {
    target = data.aws_availability_zones.available
    values = { names = ["us-east-1-bos-1a", "us-east-1a", "us-east-1c"] }
  }

  expect_failures = [data.aws_availability_zones.available]
}
