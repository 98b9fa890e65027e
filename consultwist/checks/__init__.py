"""Health checks: what finds out whether a node or a service instance is well."""
