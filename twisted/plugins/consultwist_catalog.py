"""The catalog."""

from consultwist.api.catalog.http import CatalogRoutes
from consultwist.api.catalog.leader import CatalogFollowsMembers
from consultwist.api.catalog.rpc import Catalog
from consultwist.api.catalog.table import CatalogTable

table, endpoint, routes = CatalogTable(), Catalog(), CatalogRoutes()
follower = CatalogFollowsMembers()
