# A service and how to tell whether it is well. Give it to the agent of the machine that
# the service runs on, beside the agent's own file:
#   consultwist agent -config-file client.hcl -config-file web.hcl
# Any web server on port 8080 will do to try it: python3 -m http.server 8080

service {
  name = "web"
  port = 8080
  tags = ["v1"]

  # Passing on an answer of 2xx, warning on 429, critical on all others and on none.
  check {
    name     = "web answers"
    http     = "http://127.0.0.1:8080/"
    interval = "5s"
    timeout  = "2s"
  }
}
