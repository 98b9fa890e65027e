"""Who leads, and who takes part in Raft."""
