"""What operators see and change of Raft and autopilot."""

from consultwist.api.operator.http import OperatorRoutes
from consultwist.api.operator.leader import AutopilotRoutine
from consultwist.api.operator.rpc import Operator
from consultwist.api.operator.table import OperatorTable

table, endpoint, routes = OperatorTable(), Operator(), OperatorRoutes()
autopilot = AutopilotRoutine()
