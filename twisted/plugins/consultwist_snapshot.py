"""Snapshots that users save and restore."""

from consultwist.api.snapshot.http import SnapshotRoutes

routes = SnapshotRoutes()
