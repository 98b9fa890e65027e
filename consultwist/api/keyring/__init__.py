"""The encryption keys of the gossip pools."""
