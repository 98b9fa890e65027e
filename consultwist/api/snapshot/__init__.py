"""Saving the state of a datacenter, and putting a saved one in its place."""
