resource "aws_secretsmanager_secret" "db" {
  # checkov:skip=CKV_AWS_149:encrypted with AWS' own key; a customer's key is the account owner's decision
  # checkov:skip=CKV2_AWS_57:rotated by hand, because tasks read it only when they start (README, Rotation)
  name                    = "${local.name}/db-password"
  description             = "Password of PostgreSQL's user bidding"
  recovery_window_in_days = var.secret_recovery_days
}

resource "aws_secretsmanager_secret_version" "db" {
  secret_id                = aws_secretsmanager_secret.db.id
  secret_string_wo         = var.db_password
  secret_string_wo_version = var.secrets_versions.db
}

resource "aws_secretsmanager_secret" "nats" {
  # checkov:skip=CKV_AWS_149:encrypted with AWS' own key; a customer's key is the account owner's decision
  # checkov:skip=CKV2_AWS_57:rotated by hand, because tasks read it only when they start (README, Rotation)
  name                    = "${local.name}/nats-password"
  description             = "Password of NATS' administrator, bidding"
  recovery_window_in_days = var.secret_recovery_days
}

resource "aws_secretsmanager_secret_version" "nats" {
  secret_id                = aws_secretsmanager_secret.nats.id
  secret_string_wo         = var.nats_password
  secret_string_wo_version = var.secrets_versions.nats
}

# Those of the services and of restore follow from the administrator's, and not the other way round.
resource "aws_secretsmanager_secret" "nats_user" {
  # checkov:skip=CKV_AWS_149:encrypted with AWS' own key; a customer's key is the account owner's decision
  # checkov:skip=CKV2_AWS_57:rotated by hand, because tasks read it only when they start (README, Rotation)
  for_each = local.nats_users

  name                    = "${local.name}/nats-${each.key}-password"
  description             = "Password of NATS' user ${each.key}"
  recovery_window_in_days = var.secret_recovery_days
}

resource "aws_secretsmanager_secret_version" "nats_user" {
  for_each = local.nats_users

  secret_id                = aws_secretsmanager_secret.nats_user[each.key].id
  secret_string_wo         = sha256("${var.nats_password}/${each.key}")
  secret_string_wo_version = var.secrets_versions.nats
}

# ElastiCache's token is in state (docs/decisions/0010); tasks get it like the other passwords.
resource "aws_secretsmanager_secret" "redis" {
  # checkov:skip=CKV_AWS_149:encrypted with AWS' own key; a customer's key is the account owner's decision
  # checkov:skip=CKV2_AWS_57:rotated by hand, because tasks read it only when they start (README, Rotation)
  count = var.redis_auth_token == null ? 0 : 1

  name                    = "${local.name}/redis-password"
  description             = "Password of Redis"
  recovery_window_in_days = var.secret_recovery_days
}

resource "aws_secretsmanager_secret_version" "redis" {
  count = length(aws_secretsmanager_secret.redis)

  secret_id                = aws_secretsmanager_secret.redis[0].id
  secret_string_wo         = var.redis_auth_token
  secret_string_wo_version = var.secrets_versions.redis
}
