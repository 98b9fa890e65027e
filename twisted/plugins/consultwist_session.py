"""Sessions."""

from consultwist.api.session.http import SessionRoutes
from consultwist.api.session.leader import SessionExpiry
from consultwist.api.session.rpc import Sessions
from consultwist.api.session.table import SessionTable

table, endpoint, routes, expiry = (
    SessionTable(),
    Sessions(),
    SessionRoutes(),
    SessionExpiry(),
)
