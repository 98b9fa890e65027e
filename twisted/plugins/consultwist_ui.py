"""What the user interface asks for."""

from consultwist.api.ui.http import UIRoutes
from consultwist.api.ui.rpc import Overviews

endpoint, routes = Overviews(), UIRoutes()
