"""Network coordinates."""

from consultwist.api.coordinate.http import CoordinateRoutes
from consultwist.api.coordinate.leader import CoordinateBatches
from consultwist.api.coordinate.rpc import Coordinates
from consultwist.api.coordinate.table import CoordinateTable

table, endpoint, routes = CoordinateTable(), Coordinates(), CoordinateRoutes()
batches = CoordinateBatches()
