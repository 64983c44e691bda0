variable "aws_region" {
  description = "Region of every resource."
  type        = string
  default     = "us-east-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.aws_region))
    error_message = "aws_region must look like us-east-1."
  }
}

variable "environment" {
  description = "dev or prod; a tag of every resource."
  type        = string

  validation {
    condition     = contains(["dev", "prod"], var.environment)
    error_message = "environment must be dev or prod."
  }
}

variable "emulated" {
  description = "Whether the account is an emulator's (000000000000) and not AWS'."
  type        = bool
  default     = false
}

variable "vpc_cidr" {
  description = "Addresses of the VPC, /16 to /20: subnets take a sixteenth each."
  type        = string
  default     = "10.0.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.vpc_cidr)) && can(regex("/(1[6-9]|20)$", var.vpc_cidr))
    error_message = "vpc_cidr must be an IPv4 block of /16 to /20, such as 10.0.0.0/16."
  }
}

variable "zone_count" {
  description = "Availability zones used; a load balancer and a database need two."
  type        = number
  default     = 2

  validation {
    condition     = contains([2, 3], var.zone_count)
    error_message = "zone_count must be 2 or 3."
  }
}

variable "nat_per_zone" {
  description = "A NAT gateway in each zone instead of one for all: dearer, and a zone's outage stays its own."
  type        = bool
}

variable "log_retention_days" {
  description = "Days for which logs are kept."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400], var.log_retention_days)
    error_message = "log_retention_days must be one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400."
  }
}

variable "certificate_arn" {
  description = "ACM certificate of the load balancer; without one there is HTTP only."
  type        = string
  default     = null

  validation {
    condition     = var.certificate_arn == null || can(regex("^arn:aws[a-z-]*:acm:", var.certificate_arn))
    error_message = "certificate_arn must be the ARN of an ACM certificate."
  }
}

variable "redis_node_type" {
  description = "Node type of Redis."
  type        = string

  validation {
    condition     = can(regex("^cache\\.[a-z][0-9][a-z]*\\.(micro|small|medium|[0-9]*x?large)$", var.redis_node_type))
    error_message = "redis_node_type must look like cache.t3.micro."
  }
}

variable "redis_replicas" {
  description = "Replicas of Redis; with one or more it is Multi-AZ and fails over."
  type        = number

  validation {
    condition     = contains([0, 1, 2, 3, 4, 5], var.redis_replicas)
    error_message = "redis_replicas must be a whole number from 0 to 5."
  }
}

variable "redis_auth_token" {
  description = "Password of Redis, 32 to 128 characters; none: no password. Held in state, see docs/decisions/0010."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.redis_auth_token == null || can(regex("^[A-Za-z0-9!&#$^<>-]{32,128}$", var.redis_auth_token))
    error_message = "redis_auth_token must have 32 to 128 letters, digits or ! & # $ ^ < > -, as ElastiCache asks."
  }

  validation {
    condition     = var.redis_auth_token != null || var.environment != "prod"
    error_message = "redis_auth_token is required in prod: export TF_VAR_redis_auth_token."
  }
}

variable "db_instance_class" {
  description = "Instance class of PostgreSQL."
  type        = string

  validation {
    condition     = can(regex("^db\\.[a-z][0-9][a-z]*\\.(micro|small|medium|[0-9]*x?large)$", var.db_instance_class))
    error_message = "db_instance_class must look like db.t3.micro."
  }
}

variable "db_storage_gib" {
  description = "GiB of gp3 storage; it grows up to five times that."
  type        = number
  default     = 20

  validation {
    condition     = var.db_storage_gib >= 20 && var.db_storage_gib <= 13000 && floor(var.db_storage_gib) == var.db_storage_gib
    error_message = "db_storage_gib must be a whole number from 20 to 13000."
  }
}

variable "db_multi_az" {
  description = "A standby of PostgreSQL in another zone."
  type        = bool
}

variable "db_deletion_protection" {
  description = "Whether PostgreSQL refuses to be destroyed, and leaves a last snapshot when it is."
  type        = bool
}

variable "db_backup_days" {
  description = "Days for which backups are kept."
  type        = number
  default     = 7

  validation {
    condition     = var.db_backup_days >= 1 && var.db_backup_days <= 35 && floor(var.db_backup_days) == var.db_backup_days
    error_message = "db_backup_days must be a whole number from 1 to 35."
  }
}

variable "db_password" {
  description = "Password of PostgreSQL; never in state or plan: export TF_VAR_db_password."
  type        = string
  ephemeral   = true

  validation {
    condition     = length(var.db_password) >= 16 && length(var.db_password) <= 128 && !can(regex("(?i)password|change|example|secret|bidding|12345", var.db_password))
    error_message = "db_password must have 16 to 128 characters and no word of an example: export TF_VAR_db_password=\"$(openssl rand -hex 24)\"."
  }

  validation {
    condition     = can(regex("^[!-~]*$", var.db_password)) && !can(regex("[/@\"']", var.db_password))
    error_message = "db_password must be printable ASCII without spaces, / @ \" or ', which RDS refuses."
  }
}

variable "nats_password" {
  description = "Password of NATS; never in state or plan: export TF_VAR_nats_password."
  type        = string
  ephemeral   = true

  validation {
    condition     = length(var.nats_password) >= 16 && can(regex("^[!-~]*$", var.nats_password)) && !can(regex("(?i)password|change|example|secret|bidding|12345", var.nats_password))
    error_message = "nats_password must have at least 16 printable ASCII characters, no space and no word of an example: export TF_VAR_nats_password=\"$(openssl rand -hex 24)\"."
  }
}

variable "secrets_version" {
  description = "Raised by one to send changed passwords: write-only arguments are compared by it alone."
  type        = number
  default     = 1

  validation {
    condition     = var.secrets_version >= 1 && floor(var.secrets_version) == var.secrets_version
    error_message = "secrets_version must be a whole number from 1."
  }
}

variable "secret_recovery_days" {
  description = "Days for which a destroyed secret can be brought back; 0: none, so that it can be made again at once."
  type        = number

  validation {
    condition     = var.secret_recovery_days == 0 || (var.secret_recovery_days >= 7 && var.secret_recovery_days <= 30)
    error_message = "secret_recovery_days must be 0, or 7 to 30."
  }
}

variable "ecr_mutable" {
  description = "Whether a tag of an image may be pushed again."
  type        = bool
}

variable "ecr_force_delete" {
  description = "Whether a repository is destroyed with the images in it."
  type        = bool
}
