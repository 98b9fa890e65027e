"""Records to and from bytes; knows nothing of Consul."""
