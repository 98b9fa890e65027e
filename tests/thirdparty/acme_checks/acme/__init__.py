"""Checks of Acme's."""
