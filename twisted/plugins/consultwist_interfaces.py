"""The network interfaces of an agent."""

from consultwist.dns.interface import DNSInterface
from consultwist.http.interface import HTTPInterface

dns, http = DNSInterface(), HTTPInterface()
