"""The simulated world: what tests and plugin authors use in place of the real one."""
