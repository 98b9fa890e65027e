"""The command line: ``consultwist <command>``, one module per command."""
