"""The server half of an agent: Raft, the state, the RPC methods over it."""
