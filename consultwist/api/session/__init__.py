"""Sessions: what holds locks for as long as a node and its checks are healthy."""
