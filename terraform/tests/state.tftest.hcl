# An apply on a mocked AWS; tests/terraform searches its state for secrets.
mock_provider "aws" {
  source = "./tests/mocks"
}

run "state" {
  command = apply

  # Terraform destroys the resources at the end.
  variables {
    db_deletion_protection  = false
    alb_deletion_protection = false
  }

  assert {
    condition     = length(module.service) == 3
    error_message = "An apply must create three services."
  }
}
