"""Where a Raft server keeps term, vote, log and snapshots."""
