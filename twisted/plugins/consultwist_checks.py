"""The check types that come with consultwist."""

from consultwist.checks.alias import AliasCheck
from consultwist.checks.http import HTTPCheck
from consultwist.checks.script import ScriptCheck
from consultwist.checks.tcp import TCPCheck
from consultwist.checks.ttl import TTLCheck

http, tcp, script, ttl, alias = (
    HTTPCheck(),
    TCPCheck(),
    ScriptCheck(),
    TTLCheck(),
    AliasCheck(),
)
