# The load generator: no tasks until somebody asks for them, and then they reach the load balancer alone.
# For both dev and prod.
mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan

  override_resource {
    target = aws_security_group.this["load-generator"]
    values = { id = "sg-load-generator" }
  }

  override_resource {
    target = aws_ecr_repository.this["load-generator"]
    values = { arn = "arn:aws:ecr:us-east-1:123456789012:repository/load-generator", repository_url = "registry.test/load-generator" }
  }

  override_resource {
    target = module.load_generator.aws_cloudwatch_log_group.this
    values = { arn = "arn:aws:logs:us-east-1:123456789012:log-group:load-generator" }
  }
}

run "at_rest" {
  command = plan

  assert {
    condition     = module.load_generator.service_name == "bidding-system-load-generator" && module.load_generator.service.desired_count == 0 && !module.load_generator.service.scales
    error_message = "There must be no tasks, and an apply must end a load test that was forgotten."
  }

  assert {
    condition     = module.load_generator.log_group_name == "/ecs/bidding-system/load-generator" && module.load_generator.container.logConfiguration.options["awslogs-group"] == "/ecs/bidding-system/load-generator"
    error_message = "What Locust prints must be in a log group."
  }

  assert {
    condition     = module.load_generator.container.command == tolist(["python", "-m", "locust", "-f", "locustfile.py", "--headless", "--only-summary", "--host", "http://bidding-system-1.us-east-1.elb.amazonaws.com", "--users", "500", "--spawn-rate", "50", "ContendedItemBidder"])
    error_message = "A task must bid at the load balancer, as the README says."
  }

  assert {
    condition     = module.load_generator.container.image == "registry.test/load-generator:${var.image_tag}" && length(module.load_generator.container.environment) == 0 && length(module.load_generator.container.secrets) == 0
    error_message = "The load generator must have its own image, and no secrets or settings."
  }

  assert {
    condition     = toset(flatten([for statement in jsondecode(module.load_generator.policies[0]).Statement : statement.Resource])) == toset(["arn:aws:logs:us-east-1:123456789012:log-group:load-generator:*", "arn:aws:ecr:us-east-1:123456789012:repository/load-generator", "*"])
    error_message = "The execution role must allow only the load generator's own image and log group."
  }

  assert {
    condition     = module.load_generator.container.stopTimeout > 30
    error_message = "ECS must not kill Locust before the bids in flight are answered."
  }

  assert {
    condition     = module.load_generator.service.security_groups == toset(["sg-load-generator"]) && length(module.load_generator.service.target_groups) == 0 && length(module.load_generator.container.portMappings) == 0 && !coalesce(module.load_generator.service.public, false)
    error_message = "Nothing may lead to the load generator; wiring.tftest.hcl knows the rules between groups."
  }

  assert {
    condition     = [for rule in aws_vpc_security_group_egress_rule.load : [rule.security_group_id, rule.from_port, rule.to_port]] == [["sg-load-generator", 80, 80]]
    error_message = "The load generator must reach the load balancer's listener."
  }

  assert {
    condition     = !strcontains(output.deployment_commands, "load-generator")
    error_message = "A deployment must not need the load generator's image."
  }
}

run "a_load_test" {
  command = plan

  variables {
    bid_strategy_override = true
    certificate_arn       = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
    domain_name           = "bids.example.org"
    load_generator        = { count = 4, users = 1001, bidders = "BidderUser", strategy = "optimistic" }
  }

  assert {
    condition     = module.load_generator.service.desired_count == 4 && slice(module.load_generator.container.command, 7, 14) == tolist(["--host", "https://bids.example.org", "--users", "1001", "--spawn-rate", "101", "BidderUser"])
    error_message = "The variable must choose the tasks and their crowd."
  }

  assert {
    condition     = { for variable in module.load_generator.container.environment : variable.name => variable.value } == { BID_STRATEGY = "optimistic" }
    error_message = "The variable must choose the strategy."
  }

  assert {
    condition     = length(aws_vpc_security_group_egress_rule.load) == 0 && aws_vpc_security_group_egress_rule.aws["load-generator"].from_port == 443
    error_message = "HTTPS has one rule: EC2 refuses a second one that is the same."
  }
}

run "elsewhere" {
  command = plan

  variables {
    load_generator = { host = "http://balancer.test" }
  }

  assert {
    condition     = module.load_generator.container.command[8] == "http://balancer.test"
    error_message = "An emulator's load balancer has another address inside its network."
  }
}

# Each run checks one validation, for all are of the same variable.

run "too_many_users" {
  command = plan

  variables {
    load_generator = { users = 10001 }
  }

  expect_failures = [var.load_generator]
}

run "unknown_bidders" {
  command = plan

  variables {
    load_generator = { bidders = "Bidder" }
  }

  expect_failures = [var.load_generator]
}

run "unknown_strategy" {
  command = plan

  variables {
    bid_strategy_override = true
    load_generator        = { strategy = "mutex" }
  }

  expect_failures = [var.load_generator]
}

run "strategy_that_gateways_refuse" {
  command = plan

  variables {
    bid_strategy_override = false
    load_generator        = { strategy = "lua" }
  }

  expect_failures = [var.load_generator]
}

run "host_with_a_path" {
  command = plan

  variables {
    load_generator = { host = "http://balancer.test/" }
  }

  expect_failures = [var.load_generator]
}
