"""The cloud backend: Terraform's deployment, on an emulated AWS or on an account, and its verbs."""
