# Bidding survives the outage of a zone. Also set TF_VAR_redis_auth_token, the two passwords and image_tag.
environment             = "prod"
zones                   = ["a", "b", "c"]
nat_per_zone            = true
log_retention_days      = 90
redis_node_type         = "cache.r6g.large"
redis_replicas          = 1
db_instance_class       = "db.r6g.large"
db_storage_gib          = 100
db_multi_az             = true
db_deletion_protection  = true
db_final_snapshot       = true
db_backup_days          = 14
secret_recovery_days    = 30
ecr_mutable             = false
ecr_force_delete        = false
alb_deletion_protection = true
alb_access_logs         = true
waf_requests_per_5_min  = 60000
bid_strategy_override   = false
outbox_max_entries      = 100000
items_max               = 500000
nats_clustered          = true
nats_size               = { cpu = 1024, memory = 2048 }

services = {
  api-gateway       = { cpu = 1024, memory = 2048, count = 6, max = 20 }
  broadcast-service = { cpu = 1024, memory = 2048, count = 4, max = 20 }
  archival-worker   = { cpu = 1024, memory = 2048, count = 2, max = 2 }
}
