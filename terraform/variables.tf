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

variable "permissions_boundary" {
  description = "ARN of a policy that no role made here may go beyond (permissions-boundary.json); null: none."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary == null || can(regex("^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/", var.permissions_boundary))
    error_message = "permissions_boundary must be the ARN of an IAM policy."
  }
}

variable "vpc_cidr" {
  description = "Addresses of the VPC, /16 to /20: subnets take a sixteenth each."
  type        = string
  default     = "10.0.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.vpc_cidr)) && can(regex("^(10\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.|192\\.168\\.).*/(1[6-9]|20)$", var.vpc_cidr))
    error_message = "vpc_cidr must be a private IPv4 block of /16 to /20, such as 10.0.0.0/16."
  }
}

variable "zones" {
  description = "Letters of the availability zones used. Their order decides the subnets' addresses: never changed later, only added to."
  type        = list(string)
  default     = ["a", "b"]

  validation {
    condition     = contains([2, 3], length(distinct(var.zones))) && length(var.zones) == length(distinct(var.zones)) && alltrue([for letter in var.zones : can(regex("^[a-z]$", letter))])
    error_message = "zones must be two or three different letters, such as [\"a\", \"b\"]: a load balancer and a database need two."
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
    condition     = var.certificate_arn == null || can(regex("^arn:aws[a-z-]*:acm:${var.aws_region}:[0-9]{12}:certificate/", var.certificate_arn))
    error_message = "certificate_arn must be the ARN of an ACM certificate of aws_region."
  }
}

variable "domain_name" {
  description = "Name that the certificate is for and that leads to alb_dns_name; required with certificate_arn."
  type        = string
  default     = null

  validation {
    condition     = var.domain_name == null || can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,63}$", var.domain_name))
    error_message = "domain_name must be a host name such as bids.example.org."
  }

  validation {
    condition     = (var.domain_name == null) == (var.certificate_arn == null)
    error_message = "domain_name and certificate_arn go together: no certificate is for the load balancer's own name."
  }
}

variable "redis_node_type" {
  description = "Node type of Redis."
  type        = string

  validation {
    condition     = can(regex("^cache\\.((t3|t4g)\\.(micro|small|medium)|(m5|m6g|m7g|r5|r6g|r7g)\\.(large|[0-9]*xlarge))$", var.redis_node_type))
    error_message = "redis_node_type must be of the families t3, t4g, m5, m6g, m7g, r5, r6g or r7g, such as cache.t3.micro or cache.r6g.large."
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
    condition     = var.redis_auth_token == null || !can(regex("(?i)password|change|example|secret|bidding|12345", var.redis_auth_token))
    error_message = "redis_auth_token must hold no word of an example: export TF_VAR_redis_auth_token=\"$(openssl rand -hex 32)\"."
  }

  validation {
    condition     = var.redis_auth_token != null || var.environment != "prod"
    error_message = "redis_auth_token is required in prod: export TF_VAR_redis_auth_token, the one that runs once there is one (another would be sent to Redis at once)."
  }
}

variable "db_instance_class" {
  description = "Instance class of PostgreSQL."
  type        = string

  validation {
    condition     = can(regex("^db\\.((t3|t4g)\\.(micro|small|medium|large|xlarge|2xlarge)|(m5|m6g|m6i|m7g|r5|r6g|r6i|r7g)\\.(large|[0-9]*xlarge))$", var.db_instance_class))
    error_message = "db_instance_class must be of the families t3, t4g, m5, m6g, m6i, m7g, r5, r6g, r6i or r7g, such as db.t3.micro or db.r6g.large."
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
  description = "Whether PostgreSQL refuses to be destroyed."
  type        = bool
}

variable "db_final_snapshot" {
  description = "Whether PostgreSQL leaves the snapshot bidding-system-last when it is destroyed."
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

  # One sentence for both, so that an unedited copy of the example is answered with one.
  validation {
    condition     = !contains([var.db_password, var.nats_password], "CHANGE_ME")
    error_message = "db_password and nats_password must be passwords of your own, not the example's CHANGE_ME: export TF_VAR_db_password=\"$(openssl rand -hex 24)\", and the same for nats_password; then delete both lines of terraform.tfvars, which go before what is exported."
  }

  validation {
    condition     = var.db_password == "CHANGE_ME" || (length(var.db_password) >= 16 && length(var.db_password) <= 128 && !can(regex("(?i)password|change|example|secret|bidding|12345", var.db_password)))
    error_message = "db_password must have 16 to 128 characters and no word of an example: export TF_VAR_db_password=\"$(openssl rand -hex 24)\"."
  }

  validation {
    condition     = can(regex("^[!-~]*$", var.db_password)) && !can(regex("[/@\"]", var.db_password))
    error_message = "db_password must be printable ASCII without spaces, / @ or \", which RDS refuses."
  }
}

variable "nats_password" {
  description = "Password of NATS; never in state or plan: export TF_VAR_nats_password."
  type        = string
  ephemeral   = true

  validation {
    condition     = var.nats_password == "CHANGE_ME" || (length(var.nats_password) >= 16 && can(regex("^[!-~]*$", var.nats_password)) && !can(regex("(?i)password|change|example|secret|bidding|12345", var.nats_password)))
    error_message = "nats_password must have at least 16 printable ASCII characters, no space and no word of an example: export TF_VAR_nats_password=\"$(openssl rand -hex 24)\"."
  }
}

variable "secrets_versions" {
  description = "Raise one by one to send that changed password: write-only arguments are compared by it alone."
  type = object({
    db    = optional(number, 1)
    nats  = optional(number, 1)
    redis = optional(number, 1)
  })
  default = {}

  validation {
    condition     = alltrue([for version in values(var.secrets_versions) : version >= 1 && floor(version) == version])
    error_message = "secrets_versions must be whole numbers from 1, such as { db = 2 }."
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

variable "image_tag" {
  description = "Tag of the three services' images; in prod a commit's, which is never pushed twice."
  type        = string
  default     = "latest"

  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$", var.image_tag))
    error_message = "image_tag must be a tag of an image: up to 128 letters, digits, _ . or -."
  }

  validation {
    condition     = var.environment != "prod" || can(regex("^[0-9a-f]{7,40}$", var.image_tag))
    error_message = "image_tag must be a commit in prod, such as -var image_tag=$(git rev-parse --short=12 HEAD)."
  }
}

variable "services" {
  description = "Size and number of tasks: CPU units (1024 a core), MiB, tasks at first and at least, and at most."
  type = map(object({
    cpu    = number
    memory = number
    count  = number
    max    = number
  }))

  validation {
    condition     = toset(keys(var.services)) == toset(["api-gateway", "broadcast-service", "archival-worker"])
    error_message = "services must name api-gateway, broadcast-service and archival-worker."
  }

  validation {
    condition     = alltrue([for size in values(var.services) : size.count >= 1 && size.count <= size.max && size.max <= 100 && floor(size.count) == size.count && floor(size.max) == size.max])
    error_message = "services: count must be a whole number from 1 to max, and max at most 100."
  }

  validation {
    condition     = alltrue([for size in values(var.services) : contains(lookup(local.fargate_memory, size.cpu, []), size.memory)])
    error_message = "services: Fargate has no such size: 256 CPU units go with 512, 1024 or 2048 MiB, 512 with 1024 to 4096, 1024 with 2048 to 8192, 2048 with 4096 to 16384, 4096 with 8192 to 30720, in steps of 1024."
  }

  validation {
    condition     = try(var.services["archival-worker"].count == var.services["archival-worker"].max, true)
    error_message = "services: the archival-worker does not scale by itself; count and max must be equal."
  }
}

variable "execute_command" {
  description = "Whether a shell may be opened in a task (ECS Exec). Root file systems are writable then."
  type        = bool
  default     = false
}

variable "bid_strategy" {
  description = "How bids are written: lua or optimistic."
  type        = string
  default     = "lua"

  validation {
    condition     = contains(["lua", "optimistic"], var.bid_strategy)
    error_message = "bid_strategy must be lua or optimistic."
  }
}

variable "bid_strategy_override" {
  description = "Whether a request may choose its strategy by X-Bid-Strategy; for measurements."
  type        = bool
  default     = false
}

variable "redis_min_replicas" {
  description = "Replicas of Redis that must have a bid before it is answered (WAIT)."
  type        = number
  default     = 0

  validation {
    condition     = contains(range(0, var.redis_replicas + 1), var.redis_min_replicas)
    error_message = "redis_min_replicas must be a whole number from 0 to redis_replicas."
  }
}

variable "outbox_max_entries" {
  description = "Entries of one of the four outboxes; then bids get 503. At 512 bytes each all four must fit half of what Redis may use, or gateways refuse to take bids."
  type        = number

  validation {
    condition     = var.outbox_max_entries >= 1000 && floor(var.outbox_max_entries) == var.outbox_max_entries
    error_message = "outbox_max_entries must be a whole number from 1000."
  }
}

variable "nats_image" {
  description = "Image of NATS, from a public registry or a mirror of it."
  type        = string
  default     = "nats:2.15.1-alpine"

  validation {
    condition     = can(regex("(:[A-Za-z0-9_][A-Za-z0-9_.-]*|@sha256:[0-9a-f]{64})$", var.nats_image)) && !endswith(var.nats_image, ":latest")
    error_message = "nats_image must end with a tag other than latest, or with a digest."
  }

  validation {
    condition     = !strcontains(var.nats_image, ".dkr.ecr.")
    error_message = "nats_image must be of a public registry: NATS' tasks have no right to pull from a private repository of ECR."
  }
}

variable "nats_clustered" {
  description = "Three NATS servers that each hold the stream, each in a zone of its own, instead of one."
  type        = bool

  validation {
    condition     = !var.nats_clustered || length(var.zones) == 3
    error_message = "nats_clustered needs three zones: of two, one would hold two of the three servers, and its outage would stop the stream."
  }
}

variable "nats_size" {
  description = "CPU units and MiB of a NATS server."
  type        = object({ cpu = number, memory = number })

  validation {
    condition     = contains(lookup(local.fargate_memory, var.nats_size.cpu, []), var.nats_size.memory)
    error_message = "nats_size: Fargate has no such size: 256 CPU units go with 512, 1024 or 2048 MiB, 512 with 1024 to 4096, 1024 with 2048 to 8192, 2048 with 4096 to 16384, 4096 with 8192 to 30720, in steps of 1024."
  }
}

variable "stream_max_bytes" {
  description = "Bytes the stream of events holds; full, it refuses, and the outbox in Redis fills."
  type        = number
  default     = 10737418240

  validation {
    condition     = var.stream_max_bytes >= 1073741824 && var.stream_max_bytes <= 1099511627776 && floor(var.stream_max_bytes) == var.stream_max_bytes
    error_message = "stream_max_bytes must be a whole number from 1 GiB, 1073741824, to 1 TiB, 1099511627776."
  }
}

variable "alb_deletion_protection" {
  description = "Whether the load balancer refuses to be destroyed, and its logs to be emptied."
  type        = bool
}

variable "alb_access_logs" {
  description = "Whether the load balancer logs every request to S3."
  type        = bool
}

variable "waf_requests_per_5_min" {
  description = "Requests that one address may make in five minutes; null: no WAF."
  type        = number
  default     = null

  validation {
    condition     = var.waf_requests_per_5_min == null || try(var.waf_requests_per_5_min >= 10 && var.waf_requests_per_5_min <= 2000000000 && floor(var.waf_requests_per_5_min) == var.waf_requests_per_5_min, false)
    error_message = "waf_requests_per_5_min must be a whole number from 10 to 2000000000, as WAF allows."
  }
}

variable "alarm_email" {
  description = "Who is written to when an alarm goes off; null: nobody, the alarms only show."
  type        = string
  default     = null

  validation {
    condition     = var.alarm_email == null || can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", var.alarm_email))
    error_message = "alarm_email must be an address such as ops@example.org."
  }
}
