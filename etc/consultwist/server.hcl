# A server of a datacenter with three servers. Start it with
#   consultwist agent -config-file /etc/consultwist/server.hcl
# Every key is optional unless it says otherwise; what is commented out shows defaults.

server           = true
bootstrap_expect = 3                    # servers to wait for before the first election
datacenter       = "dc1"
data_dir         = "/var/lib/consultwist"  # required

# The address that other agents reach this one at. Without it the only private IPv4
# address of the machine is taken. Templates find addresses by interface or network.
bind_addr = "{{ GetPrivateIP }}"
# advertise_addr = "10.0.0.1"

# Who may talk to the HTTP, DNS and gRPC interfaces: only this machine.
client_addr = "127.0.0.1"

# Other servers; the agent tries until one answers.
retry_join = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]

# The key that gossip is encrypted with: 32 random bytes in base64, the same on all
# agents. Make one with: head -c 32 /dev/urandom | base64
# encrypt = ""

# ports {
#   dns      = 8600   # -1 turns an interface off
#   http     = 8500
#   https    = -1
#   grpc     = -1
#   server   = 8300
#   serf_lan = 8301
#   serf_wan = 8302
# }

# performance {
#   raft_multiplier = 5   # 1 for machines of your own with fast disks
# }

# ui        = true
# log_level = "INFO"      # trace, debug, info, warn, err
