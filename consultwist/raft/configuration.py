"""Voters and non-voters: the servers that make up a Raft cluster.

A configuration is itself an entry of the log. The latest one in the log is in force,
even before it is committed; if its entry is removed by a conflicting leader, the
committed one comes back. Changes are made one server at a time (section 4.1 of the
Raft dissertation), so that old and new majorities always overlap.
"""

import enum
from collections.abc import Iterable
from typing import Self

import attrs
import msgspec

from consultwist.errors import BadRequest
from consultwist.wire import msgpack
from consultwist.wire.struct import Struct


class Suffrage(enum.IntEnum):
    """Whether a server's copy of the log counts; the numbers of the wire."""

    VOTER = 0
    NONVOTER = 1
    STAGING = 2


class Server(Struct):
    """One server of a configuration."""

    suffrage: int = Suffrage.VOTER
    id: str = ""
    address: str = ""

    @property
    def is_voter(self) -> bool:
        """Tell whether this server votes and counts for commits."""
        return self.suffrage == Suffrage.VOTER


class Configuration(Struct):
    """The servers of the cluster at one index of the log."""

    servers: list[Server] = msgspec.field(default_factory=list)

    @classmethod
    def of(cls, servers: Iterable[Server]) -> Self:
        """Return a checked configuration.

        Raises:
            BadRequest: where an id or address is empty or twice there, or none votes.
        """
        configuration = cls(servers=list(servers))
        configuration.check()
        return configuration

    def check(self) -> None:
        """Refuse a configuration that no cluster may have."""
        ids = [server.id for server in self.servers]
        addresses = [server.address for server in self.servers]
        if "" in ids:
            raise BadRequest("raft: empty id in configuration")
        if "" in addresses:
            raise BadRequest("raft: empty address in configuration")
        if len(set(ids)) < len(ids):
            raise BadRequest("raft: found duplicate id in configuration")
        if len(set(addresses)) < len(addresses):
            raise BadRequest("raft: found duplicate address in configuration")
        if not any(server.is_voter for server in self.servers):
            raise BadRequest("raft: need at least one voter in configuration")

    def find(self, server_id: str) -> Server | None:
        """Return the server of that id."""
        for server in self.servers:
            if server.id == server_id:
                return server
        return None

    def at(self, address: str) -> Server | None:
        """Return the server at that address."""
        for server in self.servers:
            if server.address == address:
                return server
        return None

    @property
    def voters(self) -> list[Server]:
        """The servers whose copies and votes count."""
        return [server for server in self.servers if server.is_voter]

    def has_vote(self, server_id: str) -> bool:
        """Tell whether that server is a voter."""
        server = self.find(server_id)
        return server is not None and server.is_voter

    def only_voter(self, server_id: str) -> bool:
        """Tell whether that server is the one and only voter."""
        voters = self.voters
        return len(voters) == 1 and voters[0].id == server_id

    def with_voter(self, server_id: str, address: str) -> Self:
        """Add a voter, promote a non-voter, or give a voter a new address."""
        return self._with(Server(id=server_id, address=address))

    def with_nonvoter(self, server_id: str, address: str) -> Self:
        """Add a non-voter; a server that votes already keeps its vote."""
        suffrage = Suffrage.VOTER if self.has_vote(server_id) else Suffrage.NONVOTER
        return self._with(Server(id=server_id, address=address, suffrage=suffrage))

    def demoted(self, server_id: str) -> Self:
        """Take a server's vote away; without effect where it is not there."""
        server = self.find(server_id)
        if server is None:
            return self
        return self._with(
            Server(id=server_id, address=server.address, suffrage=Suffrage.NONVOTER)
        )

    def without(self, server_id: str) -> Self:
        """Remove a server; without effect where it is not there."""
        return self.of(server for server in self.servers if server.id != server_id)

    def _with(self, changed: Server) -> Self:
        servers = [changed if s.id == changed.id else s for s in self.servers]
        if changed not in servers:
            servers.append(changed)
        return self.of(servers)

    def pack_peers(self) -> bytes:
        """Return the voters' addresses, as receivers before protocol 3 want them."""
        return msgpack.pack([server.address.encode() for server in self.voters])


@attrs.define
class Configurations:
    """The committed configuration and the latest one in the log."""

    committed: Configuration = attrs.field(factory=Configuration)
    committed_index: int = 0
    latest: Configuration = attrs.field(factory=Configuration)
    latest_index: int = 0

    def append(self, configuration: Configuration, index: int) -> None:
        """Put a configuration into force that was appended to the log.

        What was in force before must be committed by now: a leader appends one only
        then, so whatever a follower is sent after it proves it.
        """
        if self.latest_index > self.committed_index:
            self.committed, self.committed_index = self.latest, self.latest_index
        self.latest, self.latest_index = configuration, index

    def commit(self, commit_index: int) -> bool:
        """Note the commit index; tell whether the latest became committed by it."""
        if self.committed_index < self.latest_index <= commit_index:
            self.committed, self.committed_index = self.latest, self.latest_index
            return True
        return False

    def truncate(self, last_index: int) -> None:
        """Fall back to the committed configuration if the latest was removed."""
        if self.latest_index > last_index:
            self.latest, self.latest_index = self.committed, self.committed_index

    def install(self, configuration: Configuration, index: int) -> None:
        """Take over the configuration of a snapshot."""
        self.committed, self.committed_index = configuration, index
        self.latest, self.latest_index = configuration, index
