# What dev may do and prod may not.
mock_provider "aws" {
  source          = "./tests/mocks"
  override_during = plan
}

run "a_tag_that_may_move" {
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

run "an_example_as_the_password_of_redis" {
  command = plan

  variables {
    redis_auth_token = "passwordpasswordpasswordpassword"
  }

  expect_failures = [var.redis_auth_token]
}
