"""Metrics: counting what the agent does, and showing it to those who watch it."""
