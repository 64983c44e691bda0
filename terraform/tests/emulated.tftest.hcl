# On an emulator, whose repositories name AWS' own registry. tests/terraform searches this plan for AWS' hosts.
mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan

  override_data {
    target = data.aws_caller_identity.current
    values = { account_id = "000000000000" }
  }

  override_resource {
    target = aws_lb.this
    values = { arn = "arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/app/bidding-system/50dc6c495c0c9188", arn_suffix = "app/bidding-system/50dc6c495c0c9188", dns_name = "bidding-system.alb.localhost" }
  }

  override_resource {
    target = aws_db_instance.this
    values = { address = "172.18.0.5", port = 5432, endpoint = "172.18.0.5:5432" }
  }

  override_resource {
    target = aws_elasticache_replication_group.this
    values = { primary_endpoint_address = "172.18.0.6" }
  }
}

variables {
  emulated = true
  registry = "localhost:4566"
}

run "registry" {
  command = plan

  assert {
    condition     = alltrue([for name, service in merge(module.service, { archival-worker = module.restore, load-generator = module.load_generator }) : service.container.image == "localhost:4566/bidding-system/${name}:${var.image_tag}"])
    error_message = "Tasks must pull from the emulator's registry."
  }

  assert {
    condition     = [output.ecr_api_gateway_url, output.ecr_broadcast_service_url, output.ecr_archival_worker_url, output.ecr_load_generator_url] == [for name in ["api-gateway", "broadcast-service", "archival-worker", "load-generator"] : "localhost:4566/bidding-system/${name}"]
    error_message = "Images must be pushed to the emulator's registry."
  }

  assert {
    condition     = strcontains(output.deployment_commands, "--password-stdin localhost:4566\n") && length(regexall("docker (tag|push)[^\n]* localhost:4566/bidding-system/", output.deployment_commands)) == 6
    error_message = "The deployment commands must log in at the emulator's registry and push to it."
  }
}

run "without_its_registry" {
  command = plan

  variables {
    registry = null
  }

  expect_failures = [var.registry]
}

run "aws_as_its_registry" {
  command = plan

  variables {
    registry = "123456789012.dkr.ecr.us-east-1.amazonaws.com:443"
  }

  expect_failures = [var.registry]
}

run "a_registry_that_docker_takes_for_a_folder" {
  command = plan

  variables {
    registry = "emulator"
  }

  expect_failures = [var.registry]
}
