# An emulated apply never reaches AWS, and the reverse.
mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

run "an_account_of_aws_is_not_emulated" {
  command = plan

  variables {
    emulated = true
  }

  expect_failures = [terraform_data.account]
}

run "the_account_of_an_emulator_is" {
  command = plan

  override_data {
    target = data.aws_caller_identity.current
    values = { account_id = "000000000000" }
  }

  expect_failures = [terraform_data.account]
}
