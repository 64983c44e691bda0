# JetStream's files. Each NATS server has its own access point, and so its own folder.
resource "aws_efs_file_system" "nats" {
  # checkov:skip=CKV_AWS_184:encrypted with AWS' own key; a customer's key is the account owner's decision
  creation_token   = "${local.name}-nats"
  encrypted        = true
  performance_mode = "generalPurpose"
  throughput_mode  = "elastic"
  tags             = { Name = "${local.name}-nats" }
}

resource "aws_efs_backup_policy" "nats" {
  file_system_id = aws_efs_file_system.nats.id

  # Not needed: the stream's events are in PostgreSQL too, except during an outage of it.
  backup_policy {
    status = "DISABLED"
  }
}

resource "aws_efs_mount_target" "nats" {
  for_each = aws_subnet.private

  file_system_id  = aws_efs_file_system.nats.id
  subnet_id       = each.value.id
  security_groups = [aws_security_group.this["efs"].id]
}

resource "aws_efs_access_point" "nats" {
  for_each = local.nats_nodes

  file_system_id = aws_efs_file_system.nats.id
  tags           = { Name = "${local.name}-${each.key}" }

  posix_user {
    uid = 10001
    gid = 10001
  }

  root_directory {
    path = "/${each.key}"

    creation_info {
      owner_uid   = 10001
      owner_gid   = 10001
      permissions = "0700"
    }
  }
}

# Requires encryption in transit. It allows nothing: only the tasks' roles may grant access, and an
# allow here would add to what they grant.
resource "aws_efs_file_system_policy" "nats" {
  file_system_id = aws_efs_file_system.nats.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "OnlyEncrypted"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = "*"
        Resource  = aws_efs_file_system.nats.arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}
