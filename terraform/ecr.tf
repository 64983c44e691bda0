resource "aws_ecr_repository" "this" {
  # checkov:skip=CKV_AWS_136:encrypted with AWS' own key; a customer's key is the account owner's decision
  # checkov:skip=CKV_AWS_51:dev pushes latest again; prod is immutable (ecr_mutable)
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

resource "aws_ecr_lifecycle_policy" "this" {
  for_each = aws_ecr_repository.this

  repository = each.value.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "The newest 20 images"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 20 }
      action       = { type = "expire" }
    }]
  })
}
