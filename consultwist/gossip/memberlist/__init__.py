"""Membership and failure detection: SWIM with the Lifeguard extensions."""
