"""The health of nodes and services; reads the catalog's tables."""
