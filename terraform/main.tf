# Terraform 1.11 is the first with write-only arguments, which keep passwords out of state and plan.
terraform {
  required_version = ">= 1.11.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
}

# For AWS and for an emulator: the provider reads AWS_ENDPOINT_URL itself.
provider "aws" {
  region                      = var.aws_region
  skip_credentials_validation = var.emulated
  skip_metadata_api_check     = var.emulated
  # Checked by every command, including destroy. The precondition below gives a clearer message.
  allowed_account_ids   = var.emulated ? ["000000000000"] : null
  forbidden_account_ids = var.emulated ? null : ["000000000000"]

  default_tags {
    tags = local.tags
  }
}

data "aws_caller_identity" "current" {}

# An apply meant for an emulator must never reach AWS, nor the reverse.
resource "terraform_data" "account" {
  input = data.aws_caller_identity.current.account_id

  lifecycle {
    precondition {
      condition     = (data.aws_caller_identity.current.account_id == "000000000000") == var.emulated
      error_message = "This account and the variable emulated contradict each other: only the emulator's account is 000000000000. Correct emulated, or AWS_ENDPOINT_URL and the credentials."
    }
  }
}

data "aws_availability_zones" "available" {
  # checkov:skip=CKV_AWS_394:only used to check that the chosen zones exist
  state = "available"

  lifecycle {
    postcondition {
      condition     = length(setsubtract(local.zones, self.names)) == 0
      error_message = "These availability zones are not available to this account in aws_region: ${join(", ", setsubtract(local.zones, self.names))}. Choose from ${join(", ", self.names)}."
    }
  }
}

locals {
  name     = "bidding-system"
  services = toset(["api-gateway", "broadcast-service", "archival-worker"])
  # Keyed by name: keyed by position, subnets and the stores in them would be replaced if the list changed.
  zones = [for letter in var.zones : "${var.aws_region}${letter}"]

  tags = {
    Project     = local.name
    Environment = var.environment
    ManagedBy   = "terraform"
  }
}
