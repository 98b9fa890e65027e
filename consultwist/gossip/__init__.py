"""Gossip pools that stock Consul and Serf agents cannot tell from their own."""
