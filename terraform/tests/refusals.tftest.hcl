# Values that AWS would refuse half-way, or that nobody should deploy, are refused before anything is
# created. Each run checks many, because a run takes seconds; Terraform names any value that was not
# refused. A validation of two variables is skipped while the other one is invalid, so it needs a run
# of its own.
mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

run "invalid_values" {
  command = plan

  variables {
    db_password            = "k7Qm"                       # too short
    redis_auth_token       = "r4Tz9mKq2Lx7Vb1N"           # short
    aws_region             = "mars"                       # not a region
    vpc_cidr               = "10.0.0.0/24"                # too small for sixteen subnets
    zones                  = ["a"]                        # a load balancer needs two
    permissions_boundary   = "bidding-system-boundary"    # not an ARN
    redis_node_type        = "t3.micro"                   # not a node type
    redis_replicas         = 6                            # five at most
    db_instance_class      = "t3.micro"                   # not an instance class
    db_storage_gib         = 5                            # 20 at least
    db_backup_days         = 0                            # at least 1
    secrets_versions       = { nats = 1.5 }               # not a whole number
    secret_recovery_days   = 3                            # 0, or 7 at least
    log_retention_days     = 8                            # unknown to CloudWatch
    image_tag              = "a tag"                      # contains a space
    bid_strategy           = "mutex"                      # not a strategy
    outbox_max_entries     = 10                           # at least 1000
    items_max              = 10                           # at least 1000
    nats_image             = "nats:latest"                # no fixed version
    nats_size              = { cpu = 256, memory = 4096 } # not a Fargate size
    stream_max_bytes       = 1000                         # at least 1 GiB
    waf_requests_per_5_min = 5                            # 10 at least
    alarm_email            = "ops"                        # not an email address
    load_generator         = { count = 1.5 }              # not a whole number

    # max below count
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
    var.items_max,
    var.nats_image,
    var.nats_size,
    var.stream_max_bytes,
    var.waf_requests_per_5_min,
    var.alarm_email,
    var.load_generator,
    var.services,
  ]
}

run "more_invalid_values" {
  command = plan

  variables {
    domain_name        = "bids.example.org"
    db_password        = "ChangeMe-ChangeMe-1"                                      # an example's
    redis_auth_token   = "r4Tz9mKq2Lx7Vb1Nc6Wd3Hs8Jf5Gp0Y/"                         # a character that ElastiCache refuses
    vpc_cidr           = "8.8.0.0/16"                                               # public addresses
    zones              = ["a", "a", "b"]                                            # a duplicate
    redis_node_type    = "cache.z9.large"                                           # no such family
    redis_min_replicas = 3                                                          # more than redis_replicas
    db_instance_class  = "db.t2.micro"                                              # cannot run PostgreSQL 15
    certificate_arn    = "example.org"                                              # not an ARN
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

run "still_more_invalid_values" {
  command = plan

  variables {
    domain_name       = "bids.example.org"
    environment       = "staging"                                                                             # dev or prod
    db_password       = "k7:Qm%2vT9x/r4Wd"                                                                    # RDS refuses the slash
    redis_node_type   = "cache.r6g.micro"                                                                     # no such size
    db_instance_class = "db.r6g.micro"                                                                        # no such size
    certificate_arn   = "arn:aws:acm:eu-west-1:123456789012:certificate/00000000-0000-0000-0000-000000000000" # another region
    nats_clustered    = true                                                                                  # needs three zones

    # not a Fargate size
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

run "example_password_and_domain_without_certificate" {
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

run "invalid_combinations" {
  command = plan

  variables {
    nats_password   = "n@3/h:8" # too short
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

run "last_invalid_values" {
  command = plan

  variables {
    registry      = "localhost:4566"       # AWS has its own
    redis_ca      = "ca.pem"               # a path
    postgres_ca   = "-----BEGIN RSA KEY"   # no certificate
    nats_password = "bidding-bidding-1234" # an example's
    domain_name   = "bids"                 # not a host name

    services = {
      api-gateway       = { cpu = 256, memory = 512, count = 2, max = 101 }
      broadcast-service = { cpu = 256, memory = 512, count = 1, max = 2 }
      archival-worker   = { cpu = 256, memory = 512, count = 1, max = 1 }
    }
  }

  expect_failures = [
    var.registry,
    var.redis_ca,
    var.postgres_ca,
    var.nats_password,
    var.domain_name,
    var.services,
  ]
}

run "an_unavailable_zone" {
  command = plan

  override_data {
    target = data.aws_availability_zones.available
    values = { names = ["us-east-1-bos-1a", "us-east-1a", "us-east-1c"] }
  }

  expect_failures = [data.aws_availability_zones.available]
}
