"""The key/value store."""

from consultwist.api.kv.http import KVRoutes
from consultwist.api.kv.leader import TombstoneCollector
from consultwist.api.kv.rpc import KVS
from consultwist.api.kv.table import KVTable

table, endpoint, routes, collector = KVTable(), KVS(), KVRoutes(), TombstoneCollector()
