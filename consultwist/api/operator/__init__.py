"""What operators see and change: the servers of Raft, their health, autopilot."""
