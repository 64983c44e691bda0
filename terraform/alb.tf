resource "aws_lb" "this" {
  # checkov:skip=CKV2_AWS_76:the rule group for known bad inputs includes the Log4j rules, and nothing here runs Java
  # checkov:skip=CKV_AWS_150:protected in prod (alb_deletion_protection)
  name                       = local.name
  load_balancer_type         = "application"
  internal                   = false
  security_groups            = [aws_security_group.this["alb"].id]
  subnets                    = [for subnet in aws_subnet.public : subnet.id]
  drop_invalid_header_fields = true
  enable_deletion_protection = var.alb_deletion_protection
  # Above the 54 s after which a silent viewer is pinged. Below the gateway's keep-alive of 75 s, so
  # that the gateway never closes a connection on which the load balancer is sending a request.
  idle_timeout = 65

  dynamic "access_logs" {
    for_each = aws_s3_bucket.access_logs

    content {
      bucket  = access_logs.value.id
      prefix  = "alb"
      enabled = true
    }
  }

  # Its public addresses need the internet gateway: create it after that, destroy it before.
  depends_on = [aws_internet_gateway.this, aws_s3_bucket_policy.access_logs]
}

locals {
  targets = {
    api-gateway       = { name = "bidding-api", port = 8080, sticky = false }
    broadcast-service = { name = "bidding-broadcast", port = 8081, sticky = true }
  }
}

resource "aws_lb_target_group" "this" {
  # checkov:skip=CKV_AWS_378:TLS ends at the load balancer; tasks are in private subnets
  for_each = local.targets

  name        = each.value.name
  vpc_id      = aws_vpc.this.id
  port        = each.value.port
  protocol    = "HTTP"
  target_type = "ip"
  # ECS deregisters a task before it stops it. Requests in flight end within seconds.
  deregistration_delay = 15

  health_check {
    path                = "/health"
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }

  stickiness {
    type            = "lb_cookie"
    enabled         = each.value.sticky
    cookie_duration = 3600
  }
}

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.this.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type             = var.certificate_arn == null ? "forward" : "redirect"
    target_group_arn = var.certificate_arn == null ? aws_lb_target_group.this["api-gateway"].arn : null

    dynamic "redirect" {
      for_each = var.certificate_arn[*]

      content {
        port        = "443"
        protocol    = "HTTPS"
        status_code = "HTTP_301"
      }
    }
  }
}

resource "aws_lb_listener" "https" {
  count = var.certificate_arn == null ? 0 : 1

  load_balancer_arn = aws_lb.this.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this["api-gateway"].arn
  }
}

locals {
  # The listener that forwards requests; with HTTPS, port 80 only redirects.
  listener_arn = var.certificate_arn == null ? aws_lb_listener.http.arn : aws_lb_listener.https[0].arn
}

# Metrics and readiness are internal.
resource "aws_lb_listener_rule" "hidden" {
  listener_arn = local.listener_arn
  priority     = 10

  condition {
    path_pattern {
      values = ["/metrics", "/metrics/*", "/ready", "/ready/*"]
    }
  }

  action {
    type = "fixed-response"

    fixed_response {
      status_code  = "404"
      content_type = "application/json"
      message_body = jsonencode({ error = "Not found", code = "not_found" })
    }
  }
}

resource "aws_lb_listener_rule" "broadcast" {
  listener_arn = local.listener_arn
  priority     = 20

  condition {
    path_pattern {
      values = ["/ws*", "/stats*"]
    }
  }

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this["broadcast-service"].arn
  }
}
