# Settings of tasks, for both dev and prod.
mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

run "tasks" {
  command = plan

  assert {
    condition     = alltrue([for service in module.nats : service.container.healthCheck.command == tolist(["CMD-SHELL", file("nats/health.sh")])])
    error_message = "NATS' health check must ask NATS itself."
  }

  assert {
    condition     = alltrue([for service in merge(module.service, module.nats, { restore = module.restore, load-generator = module.load_generator }) : !can(service.container.entryPoint)]) && alltrue([for service in module.nats : service.container.command == tolist(["sh", "-c", file("nats/start.sh")])])
    error_message = "Tasks must need no entry point, which some emulators ignore."
  }

  assert {
    condition     = alltrue([for service in module.nats : service.container.healthCheck.startPeriod == 300]) && alltrue([for service in module.service : service.container.healthCheck.startPeriod == 30])
    error_message = "NATS must have time to wait for the store's lock and to read the store; services must start fast."
  }

  assert {
    condition     = alltrue([for service in module.nats : service.container.mountPoints[0].containerPath == "/data" && service.task.volumes[0].transit_encryption == "ENABLED" && service.task.volumes[0].authorization_config[0].iam == "ENABLED"])
    error_message = "NATS must keep its files on EFS, with encryption in transit and IAM authorization."
  }

  assert {
    condition     = alltrue([for service in module.service : length(service.task.volumes) == 0])
    error_message = "Services must have no volumes."
  }

  assert {
    condition     = alltrue([for point in aws_efs_access_point.nats : point.posix_user[0].uid == 10001 && point.root_directory[0].creation_info[0].owner_uid == 10001 && point.root_directory[0].creation_info[0].permissions == "0700"])
    error_message = "JetStream's folders must belong to NATS' user."
  }

  assert {
    condition     = [for statement in jsondecode(aws_efs_file_system_policy.nats.policy).Statement : [statement.Effect, statement.Condition.Bool["aws:SecureTransport"]]] == [["Deny", "false"]]
    error_message = "The file system's policy must only deny unencrypted access: an allow would apply to everybody."
  }

  assert {
    condition     = alltrue(flatten([for service in module.nats : [for policy in service.policies : [for statement in jsondecode(policy).Statement : can(statement.Condition.StringEquals["elasticfilesystem:AccessPointArn"]) if strcontains(jsonencode(statement.Action), "elasticfilesystem")]]]))
    error_message = "A NATS server must be able to mount only its own access point."
  }

  assert {
    condition     = alltrue([for service in merge(module.service, module.nats) : service.service.tags_from == "SERVICE" && !coalesce(service.service.public, false) && service.task.architecture == "X86_64"])
    error_message = "Tasks must be tagged, private and x86-64, like the images."
  }

  assert {
    condition     = alltrue([for service in module.nats : service.service.rebalancing == "DISABLED"]) && alltrue([for service in module.service : service.service.rebalancing == "ENABLED"])
    error_message = "Only services that may run two tasks at once must be rebalanced."
  }

  assert {
    condition     = { for name, service in merge(module.service, module.nats) : name => [length(service.service.target_groups), length(service.service.registries)] } == merge({ "api-gateway" = [1, 0], "broadcast-service" = [1, 0], "archival-worker" = [0, 0] }, { for node in keys(module.nats) : node => [0, 1] })
    error_message = "The API and broadcast must join the load balancer, and NATS its DNS name."
  }

  assert {
    condition     = { for name, service in merge(module.service, module.nats) : name => service.container.portMappings[0].containerPort } == merge({ "api-gateway" = 8080, "broadcast-service" = 8081, "archival-worker" = 8082 }, { for node in keys(module.nats) : node => 4222 })
    error_message = "Container ports must match groups, targets and health checks."
  }

  assert {
    condition     = alltrue([for service in module.service : length([for variable in service.container.environment : variable if variable.name == "EMF_EVERY_S" && variable.value == "30"]) == 1])
    error_message = "Services must emit their metrics every 30 s."
  }

  assert {
    condition     = alltrue(flatten([for service in module.service : [for variable in service.container.environment : variable.name == "REDIS_URL" ? startswith(variable.value, "rediss://") : variable.name == "POSTGRES_URL" ? endswith(variable.value, "?sslmode=require") : true]]))
    error_message = "Connections to Redis and PostgreSQL must use TLS."
  }

  assert {
    condition     = alltrue([for node, service in module.nats : [for variable in service.container.environment : length(compact(split(" ", variable.value))) if variable.name == "NATS_ROUTES"] == [var.nats_clustered ? 3 : 0]])
    error_message = "The servers of a cluster must know each other."
  }

  assert {
    condition     = jsondecode(local.task_trust).Statement[0].Condition.StringEquals["aws:SourceAccount"] == "123456789012" && jsondecode(local.task_trust).Statement[0].Principal.Service == "ecs-tasks.amazonaws.com"
    error_message = "Only ECS, and only for this account, may assume the tasks' roles."
  }
}

run "private_authorities" {
  command = plan

  variables {
    redis_ca    = "-----BEGIN CERTIFICATE-----\nUkVESVM=\n-----END CERTIFICATE-----\n"
    postgres_ca = "-----BEGIN CERTIFICATE-----\nUE9TVEdSRVM=\n-----END CERTIFICATE-----\n"
  }

  assert {
    condition = { for name, service in merge(module.service, { restore = module.restore }) : name => { for variable in service.container.environment : variable.name => variable.value if endswith(variable.name, "_CA") } } == {
      api-gateway       = { REDIS_CA = var.redis_ca }
      broadcast-service = { REDIS_CA = var.redis_ca }
      archival-worker   = { REDIS_CA = var.redis_ca, POSTGRES_CA = var.postgres_ca }
      restore           = { REDIS_CA = var.redis_ca, POSTGRES_CA = var.postgres_ca }
    }
    error_message = "Every task must get the authorities of the stores it connects to."
  }
}
