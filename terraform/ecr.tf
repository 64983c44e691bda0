resource "aws_ecr_repository" "this" {
  # checkov:skip=CKV_AWS_136:encrypted with AWS' own key; a customer's key is the account owner's decision
  # checkov:skip=CKV_AWS_51:dev pushes latest repeatedly; prod is immutable (ecr_mutable)
  for_each = setunion(local.services, ["load-generator"])

  name                 = "${local.name}/${each.key}"
  image_tag_mutability = var.ecr_mutable ? "MUTABLE" : "IMMUTABLE"
  force_delete         = var.ecr_force_delete

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "AES256"
  }
}

locals {
  registry = var.registry == null ? split("/", aws_ecr_repository.this["api-gateway"].repository_url)[0] : var.registry
  # An emulator's repository_url names AWS' own host.
  repository_urls = { for name, repository in aws_ecr_repository.this : name => var.registry == null ? repository.repository_url : "${var.registry}/${repository.name}" }

  # With mutable tags, the images in use are among the newest. With immutable tags any tagged image may
  # be in use, and tasks could not restart without it: tagged images are deleted by hand.
  expiring_images = var.ecr_mutable ? {
    description = "All but the newest 20"
    selection   = jsonencode({ tagStatus = "any", countType = "imageCountMoreThan", countNumber = 20 })
    } : {
    description = "What no tag names"
    selection   = jsonencode({ tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 14 })
  }
}

resource "aws_ecr_lifecycle_policy" "this" {
  for_each = aws_ecr_repository.this

  repository = each.value.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = local.expiring_images.description
      selection    = jsondecode(local.expiring_images.selection)
      action       = { type = "expire" }
    }]
  })
}
