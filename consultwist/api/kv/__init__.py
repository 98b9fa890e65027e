"""The key/value store."""
