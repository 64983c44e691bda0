# No zone's outage is an outage. Needs TF_VAR_redis_auth_token besides the two passwords.
environment            = "prod"
nat_per_zone           = true
log_retention_days     = 90
redis_node_type        = "cache.r6g.large"
redis_replicas         = 1
db_instance_class      = "db.r6g.large"
db_storage_gib         = 100
db_multi_az            = true
db_deletion_protection = true
db_backup_days         = 14
secret_recovery_days   = 30
ecr_mutable            = false
ecr_force_delete       = false
