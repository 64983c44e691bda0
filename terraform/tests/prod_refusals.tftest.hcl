# Values that dev allows and prod refuses.
mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

run "a_mutable_tag" {
  command = plan

  variables {
    image_tag = "latest"
  }

  expect_failures = [var.image_tag]
}

run "redis_without_a_password" {
  command = plan

  variables {
    redis_auth_token = null
  }

  expect_failures = [var.redis_auth_token]
}

run "an_example_password_for_redis" {
  command = plan

  variables {
    redis_auth_token = "passwordpasswordpasswordpassword"
  }

  expect_failures = [var.redis_auth_token]
}
