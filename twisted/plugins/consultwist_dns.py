"""The forms of names that DNS questions about the catalog can have."""

from consultwist.dns.forms.address import AddressForm
from consultwist.dns.forms.connect import ConnectForm
from consultwist.dns.forms.ingress import IngressForm
from consultwist.dns.forms.node import NodeForm
from consultwist.dns.forms.query import QueryForm
from consultwist.dns.forms.reverse import ReverseForm
from consultwist.dns.forms.service import ServiceForm

address, connect, ingress = AddressForm(), ConnectForm(), IngressForm()
node, query, reverse, service = NodeForm(), QueryForm(), ReverseForm(), ServiceForm()
