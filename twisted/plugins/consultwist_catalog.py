"""The catalog."""

from consultwist.api.catalog.table import CatalogTable

table = CatalogTable()
