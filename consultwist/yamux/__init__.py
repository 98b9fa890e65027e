"""yamux: many streams over one connection, as Consul's agents and servers use it."""
