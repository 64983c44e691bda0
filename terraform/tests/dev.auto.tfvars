# Cheap: one of everything, wherever one is enough.
environment             = "dev"
nat_per_zone            = false
log_retention_days      = 7
redis_node_type         = "cache.t3.micro"
redis_replicas          = 0
db_instance_class       = "db.t3.micro"
db_multi_az             = false
db_deletion_protection  = false
db_final_snapshot       = false
secret_recovery_days    = 0
ecr_mutable             = true
ecr_force_delete        = true
alb_deletion_protection = false
alb_access_logs         = false
bid_strategy_override   = true
outbox_max_entries      = 50000
items_max               = 25000
nats_clustered          = false
nats_size               = { cpu = 256, memory = 512 }

services = {
  api-gateway       = { cpu = 256, memory = 512, count = 2, max = 4 }
  broadcast-service = { cpu = 256, memory = 512, count = 1, max = 2 }
  archival-worker   = { cpu = 256, memory = 512, count = 1, max = 1 }
}
