"""The agent: what both modes share."""
