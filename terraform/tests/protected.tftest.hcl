# What is protected is not destroyed, not even in part: tests/terraform expects that this cannot clean up.
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
    error_message = "One protection must be enough."
  }
}
