# A protected system cannot be destroyed, not even in part: tests/terraform expects the cleanup to fail, so this is
# not among the files of a plain `terraform test`.
mock_provider "aws" {
  source = "./tests/mocks"
}

run "protected" {
  command = apply

  variables {
    alb_deletion_protection = true
  }

  assert {
    condition     = terraform_data.protection.input
    error_message = "One of the two protections must be enough."
  }
}
