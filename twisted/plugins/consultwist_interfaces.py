"""The network interfaces of an agent."""

from consultwist.http.interface import HTTPInterface

http = HTTPInterface()
