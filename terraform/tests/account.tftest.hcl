# An apply meant for an emulator never reaches AWS, nor the reverse.
mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

run "emulated_refuses_an_aws_account" {
  command = plan

  variables {
    emulated = true
    registry = "localhost:4566"
  }

  expect_failures = [terraform_data.account]
}

run "an_emulators_account_needs_emulated" {
  command = plan

  override_data {
    target = data.aws_caller_identity.current
    values = { account_id = "000000000000" }
  }

  expect_failures = [terraform_data.account]
}
