variable "name" {
  description = "Name of the ECS service and its task family, such as bidding-system-api-gateway; prefix of its roles' names."
  type        = string
}

variable "region" {
  description = "AWS region of the log group."
  type        = string
}

variable "log_group" {
  description = "Name of the CloudWatch log group to create."
  type        = string
}

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
}

variable "cluster_arn" {
  description = "ARN of the ECS cluster."
  type        = string
}

variable "image" {
  description = "Image, with tag."
  type        = string
}

variable "repository_arn" {
  description = "ARN of the image's ECR repository; null: a public registry, which needs no permission."
  type        = string
  default     = null
}

variable "command" {
  description = "Command, which the image's own entry point, if there is one, has to run as it is; null: the image's own."
  type        = list(string)
  default     = null
}

variable "user" {
  description = "uid:gid that the container runs as."
  type        = string
  default     = "10001:10001"

  validation {
    condition     = can(regex("^[1-9][0-9]*:[1-9][0-9]*$", var.user))
    error_message = "user must be uid:gid, and neither may be root's 0."
  }
}

variable "cpu" {
  description = "CPU units, 1024 per vCPU."
  type        = number
}

variable "memory" {
  description = "Memory in MiB. The caller checks that Fargate offers it with this CPU."
  type        = number
}

variable "port" {
  description = "Port that the container listens on; null: none."
  type        = number
  default     = null
}

variable "environment" {
  description = "Environment variables that are not secret."
  type        = map(string)
}

variable "secrets" {
  description = "Environment variables from Secrets Manager: variable name to ARN of the secret."
  type        = map(string)
}

variable "health_command" {
  description = "Container health check in ECS' form: CMD or CMD-SHELL, then the command; null: none."
  type        = list(string)
}

variable "health_start_s" {
  description = "Seconds after a container's start during which failed health checks do not count."
  type        = number
  default     = 30

  validation {
    condition     = var.health_start_s >= 0 && var.health_start_s <= 300
    error_message = "health_start_s must be from 0 to 300, ECS' limits."
  }
}

variable "stop_timeout_s" {
  description = "Seconds from SIGTERM to SIGKILL; more than the process needs to drain."
  type        = number

  validation {
    condition     = var.stop_timeout_s >= 2 && var.stop_timeout_s <= 120
    error_message = "stop_timeout_s must be from 2 to 120, Fargate's limits."
  }
}

variable "desired_count" {
  description = "Number of tasks; only the initial number if scales is set; null: no service, tasks are run by hand."
  type        = number
}

variable "scales" {
  description = "Whether autoscaling changes the number of tasks; later applies then leave it alone."
  type        = bool
  default     = false
}

variable "single" {
  description = "Whether the old task must end before a new one starts, so that two never run at once."
  type        = bool
  default     = false
}

variable "subnet_ids" {
  description = "IDs of the tasks' private subnets."
  type        = list(string)
}

variable "security_group_id" {
  description = "ID of the tasks' security group."
  type        = string
}

variable "target_group_arn" {
  description = "ARN of the target group that tasks join; null: none."
  type        = string
  default     = null
}

variable "registry_arn" {
  description = "ARN of the Cloud Map service that tasks join; null: none."
  type        = string
  default     = null
}

variable "file_system" {
  description = "EFS file system and access point, with the path to mount it at; null: none."
  type = object({
    id               = string
    arn              = string
    access_point_id  = string
    access_point_arn = string
    path             = string
  })
  default = null
}

variable "execute_command" {
  description = "Whether a shell may be opened in a task (ECS Exec). This makes the root file system writable."
  type        = bool
}

variable "trust_policy" {
  description = "JSON trust policy of the roles: ECS tasks of this account may assume them."
  type        = string
}

variable "permissions_boundary" {
  description = "ARN of both roles' permissions boundary; null: none."
  type        = string
}
