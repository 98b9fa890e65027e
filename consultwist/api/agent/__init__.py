"""The agent itself: its services, checks, members, metrics and life."""
