"""Types of commands in the Raft log and of records in a snapshot.

All numbers that any Consul release has given away are listed, so that none is used
twice; `wire/fsm.md` of the protocol notes says which release writes which.
"""

from enum import IntEnum

#: Set on a type byte: a server that does not know the type may skip the entry.
IGNORE_UNKNOWN_FLAG = 0x80


class MessageType(IntEnum):
    """The lower seven bits of the first byte of a command."""

    REGISTER = 0
    DEREGISTER = 1
    KVS = 2
    SESSION = 3
    ACL = 4
    TOMBSTONE = 5
    COORDINATE_BATCH_UPDATE = 6
    PREPARED_QUERY = 7
    TXN = 8
    AUTOPILOT = 9
    AREA = 10
    ACL_BOOTSTRAP = 11
    INTENTION = 12
    CONNECT_CA = 13
    CONNECT_CA_PROVIDER_STATE = 14
    CONNECT_CA_CONFIG = 15
    INDEX = 16
    ACL_TOKEN_SET = 17
    ACL_TOKEN_DELETE = 18
    ACL_POLICY_SET = 19
    ACL_POLICY_DELETE = 20
    CONNECT_CA_LEAF = 21
    CONFIG_ENTRY = 22
    ACL_ROLE_SET = 23
    ACL_ROLE_DELETE = 24
    ACL_BINDING_RULE_SET = 25
    ACL_BINDING_RULE_DELETE = 26
    ACL_AUTH_METHOD_SET = 27
    ACL_AUTH_METHOD_DELETE = 28
    CHUNKING_STATE = 29
    FEDERATION_STATE = 30
    SYSTEM_METADATA = 31
    SERVICE_VIRTUAL_IP = 32
    FREE_VIRTUAL_IP = 33
    KIND_SERVICE_NAMES = 34
    PEERING_WRITE = 35
    PEERING_DELETE = 36
    PEERING_TERMINATE_BY_ID = 37
    PEERING_TRUST_BUNDLE_WRITE = 38
    PEERING_TRUST_BUNDLE_DELETE = 39
    PEERING_SECRETS_WRITE = 40
    RAFT_LOG_VERIFIER_CHECKPOINT = 41
    RESOURCE_OPERATION = 42
    UPDATE_VIRTUAL_IP = 43
