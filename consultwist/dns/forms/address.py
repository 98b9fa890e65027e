"""``<hex>.addr[.<datacenter>]``: an IP address written into the name.

SRV answers use such names as targets of instances that have an address of their own.
"""

from typing import Final

from twisted.internet.defer import Deferred
from zope.interface import implementer

from consultwist.dns.answers import Lookup, absent
from consultwist.dns.names import Question
from consultwist.dns.records import address_record
from consultwist.interfaces import IAgent, IDNSForm

#: Bytes of an address that can be written; another length gives no records.
_SIZES: Final = (4, 16)


@implementer(IDNSForm)
class AddressForm:
    """Names that hold an address; answered with it, whatever type is asked for."""

    name = "address"
    labels = ("addr",)

    def lookup(self, agent: IAgent, question: Question) -> Lookup | Deferred[Lookup]:
        """Return the A or AAAA record; its name is in lower case."""
        del agent
        if len(question.subject) != 1:
            return absent()
        (digits,) = question.subject
        if len(digits) // 2 not in _SIZES:
            return Lookup(sources=())
        packed = _from_hex(digits)
        if packed is None:
            return absent()
        labels = (*question.subject, question.kind, *question.location)
        name = f"{'.'.join(labels)}.{question.settings.domain}"
        record = address_record(name, question.settings.node_ttl_s, packed)
        return Lookup(records=(record,), sources=())


def _from_hex(digits: str) -> bytes | None:
    try:
        return bytes.fromhex(digits) if digits.isalnum() else None
    except ValueError:
        return None
