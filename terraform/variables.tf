variable "aws_region" {
  description = "AWS region of every resource."
  type        = string
  default     = "us-east-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.aws_region))
    error_message = "aws_region must look like us-east-1."
  }
}

variable "environment" {
  description = "dev or prod; also a tag of every resource."
  type        = string

  validation {
    condition     = contains(["dev", "prod"], var.environment)
    error_message = "environment must be dev or prod."
  }
}

variable "emulated" {
  description = "Whether the account is an emulator's (000000000000) instead of a real AWS account."
  type        = bool
  default     = false
}

variable "registry" {
  description = "Host and port of the emulator's image registry, such as localhost:4566; required with emulated. null: ECR itself."
  type        = string
  default     = null

  validation {
    condition     = (var.registry != null) == var.emulated
    error_message = "Set registry and emulated together: without it, images built for the emulator would be pushed to AWS; on AWS the repositories know their registry."
  }

  validation {
    condition     = var.registry == null || (can(regex("^[a-z0-9]([a-z0-9.-]*[a-z0-9])?:[0-9]{1,5}$", var.registry)) && !can(regex("amazonaws", var.registry)))
    error_message = "registry must be a host and a port, and not AWS', such as localhost:4566."
  }
}

variable "permissions_boundary" {
  description = "ARN of the permissions boundary of every role created here (permissions-boundary.json); null: none."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary == null || can(regex("^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/", var.permissions_boundary))
    error_message = "permissions_boundary must be the ARN of an IAM policy."
  }
}

variable "vpc_cidr" {
  description = "IPv4 block of the VPC, /16 to /20; each subnet gets a sixteenth of it."
  type        = string
  default     = "10.0.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.vpc_cidr)) && can(regex("^(10\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.|192\\.168\\.).*/(1[6-9]|20)$", var.vpc_cidr))
    error_message = "vpc_cidr must be a private IPv4 block of /16 to /20, such as 10.0.0.0/16."
  }
}

variable "zones" {
  description = "Letters of the availability zones. Their order determines the subnets' addresses: later only append."
  type        = list(string)
  default     = ["a", "b"]

  validation {
    condition     = contains([2, 3], length(distinct(var.zones))) && length(var.zones) == length(distinct(var.zones)) && alltrue([for letter in var.zones : can(regex("^[a-z]$", letter))])
    error_message = "zones must be two or three different letters, such as [\"a\", \"b\"]: a load balancer and a database need at least two."
  }
}

variable "nat_per_zone" {
  description = "Whether each zone has its own NAT gateway: costs more, but an outage of one zone does not affect the others."
  type        = bool
}

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400], var.log_retention_days)
    error_message = "log_retention_days must be one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400."
  }
}

variable "certificate_arn" {
  description = "ARN of the load balancer's ACM certificate; null: HTTP only."
  type        = string
  default     = null

  validation {
    condition     = var.certificate_arn == null || can(regex("^arn:aws[a-z-]*:acm:${var.aws_region}:[0-9]{12}:certificate/", var.certificate_arn))
    error_message = "certificate_arn must be the ARN of an ACM certificate in aws_region."
  }
}

variable "domain_name" {
  description = "Host name of the certificate, which must resolve to alb_dns_name; required with certificate_arn."
  type        = string
  default     = null

  validation {
    condition     = var.domain_name == null || can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,63}$", var.domain_name))
    error_message = "domain_name must be a host name such as bids.example.org."
  }

  validation {
    condition     = (var.domain_name == null) == (var.certificate_arn == null)
    error_message = "Set domain_name and certificate_arn together: no certificate covers the load balancer's own name."
  }
}

variable "redis_node_type" {
  description = "ElastiCache node type of Redis."
  type        = string

  validation {
    condition     = can(regex("^cache\\.((t3|t4g)\\.(micro|small|medium)|(m5|m6g|m7g|r5|r6g|r7g)\\.(large|[0-9]*xlarge))$", var.redis_node_type))
    error_message = "redis_node_type must be from the families t3, t4g, m5, m6g, m7g, r5, r6g or r7g, such as cache.t3.micro or cache.r6g.large."
  }
}

variable "redis_replicas" {
  description = "Number of Redis replicas; with at least one, Redis is Multi-AZ and fails over."
  type        = number

  validation {
    condition     = contains([0, 1, 2, 3, 4, 5], var.redis_replicas)
    error_message = "redis_replicas must be a whole number from 0 to 5."
  }
}

variable "redis_auth_token" {
  description = "Redis' password, 32 to 128 characters; null: no password. Stored in state, see docs/decisions/0010."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.redis_auth_token == null || can(regex("^[A-Za-z0-9!&#$^<>-]{32,128}$", var.redis_auth_token))
    error_message = "redis_auth_token must be 32 to 128 letters, digits or ! & # $ ^ < > -, as ElastiCache requires."
  }

  validation {
    condition     = var.redis_auth_token == null || !can(regex("(?i)password|change|example|secret|bidding|12345", var.redis_auth_token))
    error_message = "redis_auth_token must not contain a word from an example: export TF_VAR_redis_auth_token=\"$(openssl rand -hex 32)\"."
  }

  validation {
    condition     = var.redis_auth_token != null || var.environment != "prod"
    error_message = "redis_auth_token is required in prod: export TF_VAR_redis_auth_token. If Redis already has a token, export that one: a different one would be sent to Redis at once."
  }
}

variable "redis_ca" {
  description = "PEM certificates of the authority that signed Redis'' certificate, if the tasks' images do not trust it, as that of an emulator; null: none. Not a secret."
  type        = string
  default     = null

  validation {
    condition     = var.redis_ca == null || can(regex("^-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----", var.redis_ca))
    error_message = "redis_ca must be the text of certificates in PEM form: export TF_VAR_redis_ca=\"$(cat ca.pem)\"."
  }

  validation {
    condition     = length(coalesce(var.redis_ca, "-")) <= 16384
    error_message = "redis_ca must have at most 16384 characters: ECS allows 64 KiB for a whole task definition."
  }
}

variable "db_instance_class" {
  description = "RDS instance class of PostgreSQL."
  type        = string

  validation {
    condition     = can(regex("^db\\.((t3|t4g)\\.(micro|small|medium|large|xlarge|2xlarge)|(m5|m6g|m6i|m7g|r5|r6g|r6i|r7g)\\.(large|[0-9]*xlarge))$", var.db_instance_class))
    error_message = "db_instance_class must be from the families t3, t4g, m5, m6g, m6i, m7g, r5, r6g, r6i or r7g, such as db.t3.micro or db.r6g.large."
  }
}

variable "db_storage_gib" {
  description = "Initial gp3 storage in GiB; it grows automatically up to five times that."
  type        = number
  default     = 20

  validation {
    condition     = var.db_storage_gib >= 20 && var.db_storage_gib <= 13000 && floor(var.db_storage_gib) == var.db_storage_gib
    error_message = "db_storage_gib must be a whole number from 20 to 13000."
  }
}

variable "db_multi_az" {
  description = "Whether PostgreSQL has a standby in another zone."
  type        = bool
}

variable "db_deletion_protection" {
  description = "Whether PostgreSQL is protected from deletion."
  type        = bool
}

variable "db_final_snapshot" {
  description = "Whether destroying PostgreSQL leaves a snapshot, bidding-system-last."
  type        = bool
}

variable "db_backup_days" {
  description = "Days that PostgreSQL's backups are kept."
  type        = number
  default     = 7

  validation {
    condition     = var.db_backup_days >= 1 && var.db_backup_days <= 35 && floor(var.db_backup_days) == var.db_backup_days
    error_message = "db_backup_days must be a whole number from 1 to 35."
  }
}

variable "db_password" {
  description = "PostgreSQL's password; never stored in state or plan. Export TF_VAR_db_password."
  type        = string
  ephemeral   = true

  # One message for both passwords, so that an unedited copy of the example gets only one.
  validation {
    condition     = !contains([var.db_password, var.nats_password], "CHANGE_ME")
    error_message = "db_password and nats_password must be passwords of your own, not the example's CHANGE_ME: export TF_VAR_db_password=\"$(openssl rand -hex 24)\", and the same for nats_password; then delete both lines from terraform.tfvars, which would override the exported values."
  }

  validation {
    condition     = var.db_password == "CHANGE_ME" || (length(var.db_password) >= 16 && length(var.db_password) <= 128 && !can(regex("(?i)password|change|example|secret|bidding|12345", var.db_password)))
    error_message = "db_password must have 16 to 128 characters and no word from an example: export TF_VAR_db_password=\"$(openssl rand -hex 24)\"."
  }

  validation {
    condition     = can(regex("^[!-~]*$", var.db_password)) && !can(regex("[/@\"]", var.db_password))
    error_message = "db_password must be printable ASCII without spaces or / @ \", which RDS refuses."
  }
}

variable "postgres_ca" {
  description = "PEM certificates of the authority that signed PostgreSQL'' certificate, if the tasks' images do not trust it (RDS' bundle of the region); null: none. Not a secret."
  type        = string
  default     = null

  validation {
    condition     = var.postgres_ca == null || can(regex("^-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----", var.postgres_ca))
    error_message = "postgres_ca must be the text of certificates in PEM form: export TF_VAR_postgres_ca=\"$(cat ca.pem)\"."
  }

  validation {
    condition     = length(coalesce(var.postgres_ca, "-")) <= 16384
    error_message = "postgres_ca must have at most 16384 characters: ECS allows 64 KiB for a whole task definition."
  }
}

variable "nats_password" {
  description = "Password of NATS' administrator, from which the services' are derived; never stored in state or plan. Export TF_VAR_nats_password."
  type        = string
  ephemeral   = true

  validation {
    condition     = var.nats_password == "CHANGE_ME" || (length(var.nats_password) >= 16 && can(regex("^[!-~]*$", var.nats_password)) && !can(regex("(?i)password|change|example|secret|bidding|12345", var.nats_password)))
    error_message = "nats_password must have at least 16 printable ASCII characters, no spaces and no word from an example: export TF_VAR_nats_password=\"$(openssl rand -hex 24)\"."
  }
}

variable "secrets_versions" {
  description = "Versions of the passwords. Raise one to send that password: Terraform cannot see that a write-only argument changed."
  type = object({
    db    = optional(number, 1)
    nats  = optional(number, 1)
    redis = optional(number, 1)
  })
  default = {}

  validation {
    condition     = alltrue([for version in values(var.secrets_versions) : version >= 1 && floor(version) == version])
    error_message = "secrets_versions must be whole numbers of at least 1, such as { db = 2 }."
  }
}

variable "secret_recovery_days" {
  description = "Days that a destroyed secret can be restored; 0: not at all, so that it can be recreated at once."
  type        = number

  validation {
    condition     = var.secret_recovery_days == 0 || (var.secret_recovery_days >= 7 && var.secret_recovery_days <= 30)
    error_message = "secret_recovery_days must be 0, or 7 to 30."
  }
}

variable "ecr_mutable" {
  description = "Whether an image tag may be pushed again."
  type        = bool
}

variable "ecr_force_delete" {
  description = "Whether destroying a repository deletes its images too."
  type        = bool
}

variable "image_tag" {
  description = "Tag of the three services' images; in prod a commit, pushed only once."
  type        = string
  default     = "latest"

  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$", var.image_tag))
    error_message = "image_tag must be an image tag: up to 128 letters, digits, _ . or -."
  }

  validation {
    condition     = var.environment != "prod" || can(regex("^[0-9a-f]{7,40}$", var.image_tag))
    error_message = "image_tag must be a commit in prod, such as -var image_tag=$(git rev-parse --short=12 HEAD)."
  }
}

variable "services" {
  description = "By service: CPU units (1024 per vCPU), memory in MiB, count (initial and minimum tasks) and max (maximum tasks)."
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
    error_message = "services: Fargate does not offer this size: 256 CPU units go with 512, 1024 or 2048 MiB, 512 with 1024 to 4096, 1024 with 2048 to 8192, 2048 with 4096 to 16384, 4096 with 8192 to 30720, in steps of 1024."
  }

  validation {
    condition     = try(var.services["archival-worker"].count == var.services["archival-worker"].max, true)
    error_message = "services: the archival-worker does not scale automatically; its count and max must be equal."
  }
}

variable "load_generator" {
  description = "Load test: count (tasks of one vCPU, each a crowd of its own), users per task, bidders (their class in load-tests/locustfile.py), strategy (lua or optimistic; null: the gateway's), host (URL to bid at; null: alb_url)."
  type = object({
    count    = optional(number, 0)
    users    = optional(number, 500)
    bidders  = optional(string, "ContendedItemBidder")
    strategy = optional(string)
    host     = optional(string)
  })
  default = {}

  validation {
    condition     = var.load_generator.count >= 0 && var.load_generator.count <= 20 && floor(var.load_generator.count) == var.load_generator.count
    error_message = "load_generator: count must be a whole number from 0 to 20."
  }

  validation {
    condition     = var.load_generator.users >= 1 && var.load_generator.users <= 10000 && floor(var.load_generator.users) == var.load_generator.users
    error_message = "load_generator: users must be a whole number from 1 to 10000, per task."
  }

  validation {
    condition     = contains(["ContendedItemBidder", "BidderUser", "MixedWorkloadUser"], var.load_generator.bidders)
    error_message = "load_generator: bidders must be ContendedItemBidder, BidderUser or MixedWorkloadUser."
  }

  validation {
    condition     = var.load_generator.strategy == null || (contains(["lua", "optimistic"], coalesce(var.load_generator.strategy, "-")) && var.bid_strategy_override)
    error_message = "load_generator: strategy must be lua or optimistic, and needs bid_strategy_override: without it, gateways refuse to be told a strategy."
  }

  validation {
    condition     = var.load_generator.host == null || can(regex("^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?$", var.load_generator.host))
    error_message = "load_generator: host must be a scheme, a host and perhaps a port, without a slash at its end."
  }
}

variable "execute_command" {
  description = "Whether a shell may be opened in a task (ECS Exec). This makes root file systems writable."
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
  description = "Whether a request may select its strategy with the header X-Bid-Strategy; for measurements."
  type        = bool
  default     = false
}

variable "allowed_origins" {
  description = "Origins of other hosts whose web pages may bid and watch, such as https://shop.example."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for origin in var.allowed_origins : can(regex("^https?://[a-z0-9.-]+(:[0-9]+)?$", origin))])
    error_message = "An origin is a scheme, a host and perhaps a port, in lower case and without a slash at its end."
  }
}

variable "redis_min_replicas" {
  description = "Number of Redis replicas that must have a bid before it is answered (WAIT)."
  type        = number
  default     = 0

  validation {
    condition     = contains(range(0, var.redis_replicas + 1), var.redis_min_replicas)
    error_message = "redis_min_replicas must be a whole number from 0 to redis_replicas."
  }
}

variable "outbox_max_entries" {
  description = "Maximum entries in each of the four outboxes; beyond that, bids get 503. At 512 bytes an entry, all four must fit in half of Redis' maximum memory, or gateways refuse bids."
  type        = number

  validation {
    condition     = var.outbox_max_entries >= 1000 && floor(var.outbox_max_entries) == var.outbox_max_entries
    error_message = "outbox_max_entries must be a whole number of at least 1000."
  }
}

variable "items_max" {
  description = "Maximum items in each of the four partitions of Redis; beyond that, bids on new items get 503. At 1,024 bytes an item, all must fit in two fifths of Redis' maximum memory, or gateways refuse bids."
  type        = number

  validation {
    condition     = var.items_max >= 1000 && floor(var.items_max) == var.items_max
    error_message = "items_max must be a whole number of at least 1000."
  }
}

variable "nats_image" {
  description = "NATS image, from a public registry or a mirror of one. Its entry point must run the command that it is given, and it needs sh, flock, and wget or bash."
  type        = string
  default     = "nats:2.15.1-alpine"

  validation {
    condition     = can(regex("(:[A-Za-z0-9_][A-Za-z0-9_.-]*|@sha256:[0-9a-f]{64})$", var.nats_image)) && !endswith(var.nats_image, ":latest")
    error_message = "nats_image must end with a tag other than latest, or with a digest."
  }

  validation {
    condition     = !strcontains(var.nats_image, ".dkr.ecr.")
    error_message = "nats_image must come from a public registry: NATS' tasks may not pull from a private ECR repository."
  }
}

variable "nats_clustered" {
  description = "Whether NATS is three servers, one per zone, each with a copy of the stream, instead of one."
  type        = bool

  validation {
    condition     = !var.nats_clustered || length(var.zones) == 3
    error_message = "nats_clustered needs three zones: with two, one zone would have two of the three servers, and its outage would stop the stream."
  }
}

variable "nats_size" {
  description = "CPU units (1024 per vCPU) and memory in MiB of each NATS server."
  type        = object({ cpu = number, memory = number })

  validation {
    condition     = contains(lookup(local.fargate_memory, var.nats_size.cpu, []), var.nats_size.memory)
    error_message = "nats_size: Fargate does not offer this size: 256 CPU units go with 512, 1024 or 2048 MiB, 512 with 1024 to 4096, 1024 with 2048 to 8192, 2048 with 4096 to 16384, 4096 with 8192 to 30720, in steps of 1024."
  }
}

variable "stream_max_bytes" {
  description = "Maximum size of the event stream in bytes. A full stream refuses events, and the outbox in Redis fills up."
  type        = number
  default     = 10737418240

  validation {
    condition     = var.stream_max_bytes >= 1073741824 && var.stream_max_bytes <= 1099511627776 && floor(var.stream_max_bytes) == var.stream_max_bytes
    error_message = "stream_max_bytes must be a whole number from 1073741824 (1 GiB) to 1099511627776 (1 TiB)."
  }
}

variable "alb_deletion_protection" {
  description = "Whether the load balancer is protected from deletion, and the bucket of its access logs too unless it is empty."
  type        = bool
}

variable "alb_access_logs" {
  description = "Whether the load balancer logs every request to S3."
  type        = bool
}

variable "waf_requests_per_5_min" {
  description = "Requests allowed per address in five minutes; null: no WAF."
  type        = number
  default     = null

  validation {
    condition     = var.waf_requests_per_5_min == null || try(var.waf_requests_per_5_min >= 10 && var.waf_requests_per_5_min <= 2000000000 && floor(var.waf_requests_per_5_min) == var.waf_requests_per_5_min, false)
    error_message = "waf_requests_per_5_min must be a whole number from 10 to 2000000000, as WAF allows."
  }
}

variable "alarm_email" {
  description = "Email address for alarms; null: no emails."
  type        = string
  default     = null

  validation {
    condition     = var.alarm_email == null || can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", var.alarm_email))
    error_message = "alarm_email must be an email address such as ops@example.org."
  }
}
