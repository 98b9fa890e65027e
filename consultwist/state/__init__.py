"""The replicated state: tables, indexes, transactions, watches, snapshots."""
