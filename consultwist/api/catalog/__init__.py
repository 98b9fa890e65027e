"""The catalog: nodes, the services on them, and the checks of both."""
