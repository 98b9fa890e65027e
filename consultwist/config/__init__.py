"""The agent's configuration: files and flags in, one `RuntimeConfig` out."""
