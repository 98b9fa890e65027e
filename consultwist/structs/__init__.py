"""The records of the Consul contract: data and validation, no behaviour."""
