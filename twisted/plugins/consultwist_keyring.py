"""The encryption keys of the gossip pools."""

from consultwist.api.keyring.http import KeyringRoutes
from consultwist.api.keyring.rpc import Keyring

endpoint, routes = Keyring(), KeyringRoutes()
