variable "name" {
  description = "Of the ECS service, its task family and its roles, such as bidding-system-api-gateway."
  type        = string
}

variable "region" {
  description = "Where its log group is."
  type        = string
}

variable "log_group" {
  description = "CloudWatch log group, made here."
  type        = string
}

variable "log_retention_days" {
  description = "Days for which its lines are kept."
  type        = number
}

variable "cluster_arn" {
  description = "The ECS cluster."
  type        = string
}

variable "image" {
  description = "Image with its tag."
  type        = string
}

variable "repository_arn" {
  description = "ECR repository of the image; null: a public registry, which needs no permission."
  type        = string
  default     = null
}

variable "command" {
  description = "Entry point and arguments; null: the image's own."
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
  description = "CPU units, 1024 a core."
  type        = number
}

variable "memory" {
  description = "MiB; whether Fargate has it with that CPU is asked of the caller."
  type        = number
}

variable "port" {
  description = "Port that the load balancer or others connect to; null: none."
  type        = number
  default     = null
}

variable "environment" {
  description = "Settings that anybody may read."
  type        = map(string)
}

variable "secrets" {
  description = "Settings by reference: the name and the ARN of a secret."
  type        = map(string)
}

variable "health_command" {
  description = "Container health check, as ECS takes it: CMD or CMD-SHELL first."
  type        = list(string)
}

variable "health_start_s" {
  description = "Seconds from a container's start in which failed health checks do not count."
  type        = number
  default     = 30

  validation {
    condition     = var.health_start_s >= 0 && var.health_start_s <= 300
    error_message = "health_start_s must be 0 to 300, as ECS allows."
  }
}

variable "stop_timeout_s" {
  description = "Seconds from SIGTERM to SIGKILL; above what the process needs to drain."
  type        = number

  validation {
    condition     = var.stop_timeout_s >= 2 && var.stop_timeout_s <= 120
    error_message = "stop_timeout_s must be 2 to 120, as Fargate allows."
  }
}

variable "desired_count" {
  description = "Tasks."
  type        = number
}

variable "scales" {
  description = "Whether something else changes the number of tasks: it is then set once, and left alone."
  type        = bool
  default     = false
}

variable "single" {
  description = "Never two tasks at once: the old one ends before the new one starts."
  type        = bool
  default     = false
}

variable "subnet_ids" {
  description = "Private subnets of the tasks."
  type        = list(string)
}

variable "security_group_id" {
  description = "Security group of the tasks."
  type        = string
}

variable "target_group_arn" {
  description = "Target group that tasks join; null: none."
  type        = string
  default     = null
}

variable "registry_arn" {
  description = "Cloud Map service that tasks join; null: none."
  type        = string
  default     = null
}

variable "file_system" {
  description = "EFS access point, where it is mounted, and its ARNs; null: none."
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
  description = "Whether a shell may be opened in a task (ECS Exec). It needs a writable root file system."
  type        = bool
}

variable "trust_policy" {
  description = "JSON policy that lets ECS tasks of this account take a role."
  type        = string
}

variable "permissions_boundary" {
  description = "ARN of the policy that neither role may go beyond; null: none."
  type        = string
}
