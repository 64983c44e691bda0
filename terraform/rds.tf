resource "aws_db_subnet_group" "this" {
  name       = local.name
  subnet_ids = [for subnet in aws_subnet.private : subnet.id]
}

resource "aws_db_parameter_group" "this" {
  name   = "${local.name}-postgres15"
  family = "postgres15"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }
}

# Created before the instance: RDS would create the groups itself, with logs that never expire.
resource "aws_cloudwatch_log_group" "postgres" {
  # checkov:skip=CKV_AWS_158:encrypted with AWS' own key; a customer's key is the account owner's decision
  # checkov:skip=CKV_AWS_338:kept for log_retention_days: a year of logs is a cost, not a need
  for_each = toset(["postgresql", "upgrade"])

  name              = "/aws/rds/instance/${local.name}/${each.key}"
  retention_in_days = var.log_retention_days
}

resource "aws_db_instance" "this" {
  # checkov:skip=CKV_AWS_118:Performance Insights and the alarms are enough
  # checkov:skip=CKV_AWS_354:encrypted with AWS' own key; a customer's key is the account owner's decision
  # checkov:skip=CKV_AWS_161:there is one user, and only the worker has its password
  # checkov:skip=CKV_AWS_157:prod has a standby (db_multi_az)
  # checkov:skip=CKV_AWS_293:protected in prod (db_deletion_protection)
  identifier                      = local.name
  engine                          = "postgres"
  engine_version                  = "15"
  instance_class                  = var.db_instance_class
  db_name                         = "bidding"
  username                        = "bidding"
  password_wo                     = var.db_password
  password_wo_version             = var.secrets_versions.db
  storage_type                    = "gp3"
  storage_encrypted               = true
  allocated_storage               = var.db_storage_gib
  max_allocated_storage           = var.db_storage_gib * 5
  multi_az                        = var.db_multi_az
  db_subnet_group_name            = aws_db_subnet_group.this.name
  parameter_group_name            = aws_db_parameter_group.this.name
  vpc_security_group_ids          = [aws_security_group.this["postgres"].id]
  publicly_accessible             = false
  performance_insights_enabled    = true
  enabled_cloudwatch_logs_exports = keys(aws_cloudwatch_log_group.postgres)
  backup_retention_period         = var.db_backup_days
  copy_tags_to_snapshot           = true
  auto_minor_version_upgrade      = true
  deletion_protection             = var.db_deletion_protection
  delete_automated_backups        = !var.db_final_snapshot
  skip_final_snapshot             = !var.db_final_snapshot
  final_snapshot_identifier       = "${local.name}-last"

  depends_on = [aws_cloudwatch_log_group.postgres]
}
