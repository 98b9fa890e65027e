# A client: one runs on each machine that has services. Start it with
#   consultwist agent -config-file /etc/consultwist/client.hcl
# Every key is optional unless it says otherwise; what is commented out shows defaults.

datacenter = "dc1"
data_dir   = "/var/lib/consultwist"  # required

# The address that other agents reach this one at.
bind_addr = "{{ GetPrivateIP }}"

# Who may talk to the HTTP and DNS interfaces: only this machine.
client_addr = "127.0.0.1"

# The servers; the agent tries until one answers.
retry_join = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]

# The gossip key of the datacenter, the same as on the servers.
# encrypt = ""

# leave_on_terminate = true   # say goodbye when the machine is shut down

# Scripts as health checks, from files like this one only.
# enable_local_script_checks = false

# What runs on this machine. Several blocks need the name "services".
# service {
#   name = "web"
#   port = 80
#   check {
#     http     = "http://127.0.0.1/health"
#     interval = "10s"
#     timeout  = "2s"
#   }
# }
