"""Network coordinates."""

from consultwist.api.coordinate.table import CoordinateTable

table = CoordinateTable()
