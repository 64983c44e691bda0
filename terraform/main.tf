# Write-only arguments, which keep passwords out of state and plan, came with Terraform 1.11.
terraform {
  required_version = ">= 1.11.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
}

# One block for AWS and an emulator: the provider reads AWS_ENDPOINT_URL itself.
provider "aws" {
  region                      = var.aws_region
  skip_credentials_validation = var.emulated
  skip_metadata_api_check     = var.emulated
  # Asked by every command, destroy too; the precondition below says it in a sentence.
  allowed_account_ids   = var.emulated ? ["000000000000"] : null
  forbidden_account_ids = var.emulated ? null : ["000000000000"]

  default_tags {
    tags = local.tags
  }
}

data "aws_caller_identity" "current" {}

# An emulated apply never reaches AWS, and the reverse.
resource "terraform_data" "account" {
  input = data.aws_caller_identity.current.account_id

  lifecycle {
    precondition {
      condition     = (data.aws_caller_identity.current.account_id == "000000000000") == var.emulated
      error_message = "This account and the variable emulated contradict each other: only the emulator's account is 000000000000. Set emulated, or AWS_ENDPOINT_URL and the credentials, to match."
    }
  }
}

data "aws_availability_zones" "available" {
  # checkov:skip=CKV_AWS_394:only asked whether it has the zones that are named
  state = "available"

  lifecycle {
    postcondition {
      condition     = length(setsubtract(local.zones, self.names)) == 0
      error_message = "This account has no such availability zones in aws_region now: ${join(", ", setsubtract(local.zones, self.names))}. Choose others of ${join(", ", self.names)}."
    }
  }
}

locals {
  name     = "bidding-system"
  services = toset(["api-gateway", "broadcast-service", "archival-worker"])
  # By name, not by their place in a list that changes: subnets would move, and with them the stores.
  zones = [for letter in var.zones : "${var.aws_region}${letter}"]

  tags = {
    Project     = local.name
    Environment = var.environment
    ManagedBy   = "terraform"
  }
}
