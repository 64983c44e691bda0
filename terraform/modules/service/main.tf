# One ECS service on Fargate: its log group, roles, task definition and the service itself, or all but the service.
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
}

resource "aws_cloudwatch_log_group" "this" {
  # checkov:skip=CKV_AWS_158:encrypted with AWS' own key; a customer's key is the account owner's decision
  # checkov:skip=CKV_AWS_338:kept for log_retention_days: a year of logs is a cost, not a need
  name              = var.log_group
  retention_in_days = var.log_retention_days
}

locals {
  container = {
    name                   = "main"
    image                  = var.image
    essential              = true
    user                   = var.user
    readonlyRootFilesystem = !var.execute_command
    command                = var.command
    stopTimeout            = var.stop_timeout_s
    portMappings           = var.port == null ? [] : [{ containerPort = var.port, hostPort = var.port, protocol = "tcp" }]
    environment            = [for name, value in var.environment : { name = name, value = value }]
    secrets                = [for name, arn in var.secrets : { name = name, valueFrom = arn }]
    mountPoints            = var.file_system == null ? [] : [{ sourceVolume = "data", containerPath = var.file_system.path, readOnly = false }]
    volumesFrom            = []
    systemControls         = []
    ulimits                = [{ name = "nofile", softLimit = 65535, hardLimit = 65535 }]
    linuxParameters        = { initProcessEnabled = var.execute_command, capabilities = { add = [], drop = ["ALL"] } }

    healthCheck = var.health_command == null ? null : {
      command     = var.health_command
      interval    = 10
      timeout     = 5
      retries     = 3
      startPeriod = var.health_start_s
    }

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this.name
        awslogs-region        = var.region
        awslogs-stream-prefix = "ecs"
        # Bidding must not wait for logs.
        mode            = "non-blocking"
        max-buffer-size = "4m"
      }
    }
  }
}

resource "aws_ecs_task_definition" "this" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn
  # A failed deployment rolls back to the previous revision, so keep it.
  skip_destroy          = true
  container_definitions = jsonencode([{ for key, value in local.container : key => value if value != null }])

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "X86_64"
  }

  dynamic "volume" {
    for_each = var.file_system == null ? [] : [var.file_system]

    content {
      name = "data"

      efs_volume_configuration {
        file_system_id     = volume.value.id
        transit_encryption = "ENABLED"

        authorization_config {
          access_point_id = volume.value.access_point_id
          iam             = "ENABLED"
        }
      }
    }
  }
}
