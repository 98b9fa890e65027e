"""The forms of names in the agent's domain, one module each."""
