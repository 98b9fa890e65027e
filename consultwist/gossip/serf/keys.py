"""Key queries: changing the keyrings of a whole pool."""

import base64
from typing import Final

import attrs

from consultwist.errors import BadRequest, WireError
from consultwist.gossip.memberlist.keyring import Keyring
from consultwist.gossip.serf import messages
from consultwist.gossip.serf.messages import KeyRequest, KeyResponse

INSTALL: Final = "_serf_install-key"
USE: Final = "_serf_use-key"
REMOVE: Final = "_serf_remove-key"
LIST: Final = "_serf_list-keys"

#: What the operation of a request is called on the wire.
OPERATIONS: Final = {"install": INSTALL, "use": USE, "remove": REMOVE, "list": LIST}


def encode_request(key: bytes) -> bytes:
    """Return the payload of a key query."""
    return messages.encode(messages.KEY_REQUEST, KeyRequest(key=key))


def answer(keyring: Keyring, name: str, payload: bytes) -> KeyResponse:
    """Do what a key query asks for, and say how it went."""
    if name == LIST:
        return _list(keyring)
    if not keyring:
        return KeyResponse(message="No keyring to modify (encryption not enabled)")
    if payload[:1] != bytes((messages.KEY_REQUEST,)):
        return KeyResponse(message="malformed key request")
    try:
        key = messages.decode(KeyRequest, payload[1:]).key or b""
        if name == INSTALL:
            keyring.add(key)
        elif name == USE:
            keyring.use(key)
        else:
            keyring.remove(key)
    except (BadRequest, WireError) as error:
        return KeyResponse(message=str(error))
    return KeyResponse(result=True)


def _list(keyring: Keyring) -> KeyResponse:
    if not keyring:
        return KeyResponse(message="Keyring is empty (encryption not enabled)")
    keys = [_text(key) for key in keyring.keys]
    return KeyResponse(result=True, keys=keys, primary_key=_text(keyring.primary))


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode()


def shortened(response: KeyResponse, kept: int) -> KeyResponse:
    """Return a list of keys with only the first ones."""
    total = len(response.keys or ())
    return KeyResponse(
        result=response.result,
        message=f"truncated key list response, showing first {kept} of {total} keys",
        keys=(response.keys or [])[:kept],
        primary_key=response.primary_key,
    )


@attrs.define
class KeySurvey:
    """What the members of a pool answered to a key query.

    Attributes:
        members: how many were asked.
        responses: how many answered.
        errors: how many could not do it.
        messages: what members said, by name.
        keys: on how many members a key is installed.
        primary_keys: on how many members a key is the primary.
    """

    members: int = 0
    responses: int = 0
    errors: int = 0
    messages: dict[str, str] = attrs.Factory(dict)
    keys: dict[str, int] = attrs.Factory(dict)
    primary_keys: dict[str, int] = attrs.Factory(dict)


def survey(responses: dict[str, bytes], members: int) -> KeySurvey:
    """Count what came back for a key query."""
    found = KeySurvey(members=members, responses=len(responses))
    for name, payload in responses.items():
        if payload[:1] != bytes((messages.KEY_RESPONSE,)):
            found.messages[name] = "Invalid key query response type"
            found.errors += 1
            continue
        try:
            response = messages.decode(KeyResponse, payload[1:])
        except WireError as error:
            found.messages[name] = f"Failed to decode key query response: {error}"
            found.errors += 1
            continue
        if response.message:
            found.messages[name] = response.message
        if not response.result:
            found.errors += 1
        for key in response.keys or ():
            found.keys[key] = found.keys.get(key, 0) + 1
        if response.primary_key:
            primary = response.primary_key
            found.primary_keys[primary] = found.primary_keys.get(primary, 0) + 1
    return found
