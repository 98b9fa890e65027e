"""Transactions: several operations that happen together or not at all."""
