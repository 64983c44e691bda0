# The small bill: one of everything that may be one.
environment            = "dev"
nat_per_zone           = false
log_retention_days     = 7
redis_node_type        = "cache.t3.micro"
redis_replicas         = 0
db_instance_class      = "db.t3.micro"
db_multi_az            = false
db_deletion_protection = false
secret_recovery_days   = 0
ecr_mutable            = true
ecr_force_delete       = true
