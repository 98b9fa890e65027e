"""Raft: the replicated log of the servers of a datacenter."""
