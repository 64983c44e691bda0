# `destroy` would remove the services first and fail only later, at a protected PostgreSQL. This guard
# depends on everything, so it is destroyed first, and fails while anything is protected.
resource "terraform_data" "protection" {
  # Lifting the protection updates this in place and destroys nothing.
  input = var.db_deletion_protection || var.alb_deletion_protection

  provisioner "local-exec" {
    when    = destroy
    command = self.input ? "echo 'Protected: set db_deletion_protection and alb_deletion_protection to false and apply first. Nothing was destroyed. Where such an apply cannot succeed, see Clean up in the guide.' >&2; exit 1" : "true"
  }

  depends_on = [
    module.service,
    module.nats,
    module.restore,
    module.load_generator,
    aws_appautoscaling_policy.cpu,
    aws_appautoscaling_policy.requests,
    aws_cloudwatch_dashboard.this,
    aws_cloudwatch_metric_alarm.aws,
    aws_cloudwatch_metric_alarm.database_storage,
    aws_cloudwatch_metric_alarm.least,
    aws_cloudwatch_metric_alarm.own,
    aws_db_instance.this,
    aws_default_security_group.this,
    aws_ecr_lifecycle_policy.this,
    aws_efs_backup_policy.nats,
    aws_elasticache_replication_group.this,
    aws_flow_log.this,
    aws_iam_role_policy.flow,
    aws_lb_listener_rule.broadcast,
    aws_lb_listener_rule.hidden,
    aws_route.public,
    aws_route_table_association.private,
    aws_route_table_association.public,
    aws_s3_bucket_lifecycle_configuration.access_logs,
    aws_s3_bucket_public_access_block.access_logs,
    aws_s3_bucket_server_side_encryption_configuration.access_logs,
    aws_sns_topic_subscription.email,
    aws_vpc_endpoint.s3,
    aws_vpc_security_group_ingress_rule.world,
    aws_wafv2_web_acl_association.this,
  ]
}
