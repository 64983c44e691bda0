# An apply on a mocked AWS, whose state is looked through for secrets by tests/terraform.
mock_provider "aws" {
  source = "./tests/mocks"
}

run "state" {
  command = apply

  # What was applied is destroyed at the end.
  variables {
    db_deletion_protection  = false
    alb_deletion_protection = false
  }

  assert {
    condition     = length(module.service) == 3
    error_message = "An apply must end with three services."
  }
}
