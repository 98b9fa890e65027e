"""``raft/peers.json``: an operator replaces the configuration of a broken cluster.

Where a majority of the servers is gone for good, nothing can be committed any more,
not even their removal. The operator then puts the same file on all servers that are
left and starts them.
"""

import json
from pathlib import Path

from consultwist.errors import BadRequest, ConfigError
from consultwist.raft.configuration import Configuration, Server, Suffrage


def read_peers(path: Path) -> Configuration | None:
    """Return the configuration that the file orders, or None where there is none.

    Raises:
        ConfigError: where the file is malformed.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        plain = json.loads(content)
        if not isinstance(plain, list):
            raise ConfigError(f"{path}: a list of servers was expected")
        return Configuration.of(_server(item) for item in plain)
    except (ValueError, KeyError, TypeError, BadRequest) as error:
        raise ConfigError(f"{path}: {error}") from error


def _server(item: object) -> Server:
    if isinstance(item, str):
        # Protocol version 2: the address is the id.
        return Server(id=item, address=item)
    if not isinstance(item, dict):
        raise TypeError(f"a server was expected, not {item!r:.40}")
    suffrage = Suffrage.NONVOTER if item.get("non_voter") else Suffrage.VOTER
    return Server(id=item["id"], address=item["address"], suffrage=suffrage)
