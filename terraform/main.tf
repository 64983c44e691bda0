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

  default_tags {
    tags = local.tags
  }
}

data "aws_caller_identity" "current" {}

# An emulated apply never reaches AWS, and the reverse. (Not asked by `destroy`, nor with `-target`.)
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
  # checkov:skip=CKV_AWS_394:only the first zone_count names are used, whatever is added
  state = "available"

  lifecycle {
    postcondition {
      condition     = length([for name in self.names : name if can(regex("^${var.aws_region}[a-z]$", name))]) >= var.zone_count
      error_message = "aws_region has fewer availability zones than zone_count. Choose another region, or fewer zones."
    }
  }
}

locals {
  name     = "bidding-system"
  services = toset(["api-gateway", "broadcast-service", "archival-worker"])
  # Not the Local Zones that an account may have opted into (us-east-1-bos-1a): they lack most of this.
  regional_zones = [for name in data.aws_availability_zones.available.names : name if can(regex("^${var.aws_region}[a-z]$", name))]
  zones          = slice(local.regional_zones, 0, var.zone_count)

  tags = {
    Project     = local.name
    Environment = var.environment
    ManagedBy   = "terraform"
  }
}
