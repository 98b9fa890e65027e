"""Network coordinates: where the nodes are, in round-trip times."""
