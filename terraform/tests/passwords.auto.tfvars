# Besides dev.tfvars, what a user exports. These files win over a terraform.tfvars and exported variables.
db_password      = "k7:Qm%2vT9xLr4Wd&p"
nats_password    = "n@3/h:8%Zp5sYc1Fb"
redis_auth_token = null
image_tag        = "latest"
emulated         = false
registry         = null
redis_ca         = null
postgres_ca      = null
