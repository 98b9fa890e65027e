"""The RPC method by which keys are listed and changed on all members."""

import base64
import binascii
from typing import Final

import msgspec.structs
from twisted.internet.defer import Deferred

from consultwist.acl.authorizer import Authorizer
from consultwist.errors import ConsultwistError
from consultwist.gossip.serf.keys import KeySurvey
from consultwist.server.endpoint import Call, Endpoint, method
from consultwist.structs.keyring import (
    KeyringRequest,
    KeyringResponse,
    KeyringResponses,
)

LIST: Final = "list"


def keyring_rule(authorizer: Authorizer, request: KeyringRequest) -> bool:
    """Ask for read access to list keys, for write access to change them."""
    access = "read" if request.operation == LIST else "write"
    return authorizer.allows("keyring", access, "")


class Keyring(Endpoint):
    """RPC methods of the gossip keys."""

    name = "keyring"
    service = "Internal"

    @method(KeyringRequest, acl=keyring_rule, local=True)
    async def keyring_operation(
        self, call: Call, request: KeyringRequest
    ) -> KeyringResponses:
        """List or change the keys of this server's pools.

        What goes wrong in one pool is told in its part of the answer.
        """
        datacenter: str = call.server.config.datacenter
        try:
            key = _decode(request.key)
        except ConsultwistError as error:
            pools = ("LAN",) if not call.server.membership.has_wan else ("WAN", "LAN")
            return KeyringResponses(
                responses=[
                    KeyringResponse(
                        wan=pool == "WAN", datacenter=datacenter, error=str(error)
                    )
                    for pool in pools
                ]
            )
        asked = call.server.membership.keyring(
            request.operation, key, request.relay_factor
        )
        if request.local_only:
            asked = [part for part in asked if part[0] == "LAN"]
        return KeyringResponses(
            responses=[
                await _answer(
                    KeyringResponse(
                        wan=pool == "WAN", datacenter=datacenter, segment=segment
                    ),
                    done,
                )
                for pool, segment, done in asked
            ]
        )


async def _answer(pool: KeyringResponse, done: Deferred[KeySurvey]) -> KeyringResponse:
    """Return what the members of a pool answered."""
    try:
        survey = await done
    except ConsultwistError as error:
        return msgspec.structs.replace(pool, error=str(error))
    failed = survey.errors or survey.members - survey.responses
    return msgspec.structs.replace(
        pool,
        messages=survey.messages or None,
        keys=survey.keys,
        primary_keys=survey.primary_keys,
        num_nodes=survey.members,
        error=_problem(survey) if failed else "",
    )


def _problem(survey: KeySurvey) -> str:
    if survey.errors:
        return f"{survey.errors}/{survey.members} nodes reported failure"
    return f"{survey.responses}/{survey.members} nodes reported success"


def _decode(text: str) -> bytes:
    """Return the bytes of a key.

    Raises:
        ConsultwistError: with the text of Go's decoder.
    """
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        whole = len(text) - len(text) % 4
        raise ConsultwistError(f"illegal base64 data at input byte {whole}") from None
