"""What each datacenter tells the others of its mesh gateways."""

from consultwist.api.federation_state.table import FederationStateTable

table = FederationStateTable()
