# An apply on a mocked AWS, whose state is looked through for secrets by tests/terraform.
mock_provider "aws" {
  source = "./tests/mocks"
}

run "state" {
  command = apply

  assert {
    condition     = length(module.service) == 3
    error_message = "An apply must end with three services."
  }
}
