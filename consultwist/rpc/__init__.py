"""Calls between agents: connections, framing, dispatch, known servers."""
