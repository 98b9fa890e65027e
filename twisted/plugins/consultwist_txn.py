"""Transactions."""

from consultwist.api.txn.http import TxnRoutes
from consultwist.api.txn.rpc import Transactions
from consultwist.api.txn.table import TxnTable

table, endpoint, routes = TxnTable(), Transactions(), TxnRoutes()
