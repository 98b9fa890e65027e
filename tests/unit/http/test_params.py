"""What query parameters and header fields mean."""

import pytest

from consultwist.errors import BadRequest
from consultwist.http.messages import query_pairs
from consultwist.http.params import (
    near,
    node_meta,
    query_options,
    redacted_target,
    refuse_namespace,
    source_address,
    write_options,
)
from consultwist.http.parser import Memory, RequestReader
from consultwist.structs.query import DCSpecificRequest
from consultwist.testing.http import HTTPAgent, HTTPSettings

_SECOND = 1_000_000_000


def _request(target, *fields):
    reader = RequestReader(Memory())
    lines = [f"GET {target} HTTP/1.1", "Host: x", *fields]
    reader.feed(("\r\n".join(lines) + "\r\n\r\n").encode())
    request = reader.head()
    assert request is not None
    request.query = dict(reversed([*query_pairs(request.raw_query)]))
    request.client = "10.0.0.9"
    return request


def _options(target, *fields, **settings):
    agent = HTTPAgent(HTTPSettings(**settings))
    agent.tokens.default = "own"
    return query_options(_request(target, *fields), agent)


def test_a_plain_read_has_defaults():
    """Nothing said: this datacenter, the agent's own token, default consistency."""
    assert _options("/v1/kv/a") == {"datacenter": "dc1", "token": "own"}
    assert _options("/v1/kv/a?recurse&dc=") == {"datacenter": "dc1", "token": "own"}


def test_all_options_fit_a_request_record():
    """The options are the fields of any read request."""
    options = _options(
        "/v1/catalog/nodes?dc=dc2&stale&index=7&wait=1m&filter=a+%3D%3D+b&token=t",
        "Cache-Control: max-age=5, stale-if-error=6, must-revalidate",
    )
    query = DCSpecificRequest(**options)
    assert query == DCSpecificRequest(
        datacenter="dc2",
        token="t",
        allow_stale=True,
        min_query_index=7,
        max_query_time=60 * _SECOND,
        filter="a == b",
        max_age=5 * _SECOND,
        stale_if_error=6 * _SECOND,
        must_revalidate=True,
    )


def test_the_first_of_several_tokens_wins():
    """The parameter comes before the fields, and those before the agent's own."""
    assert _options("/?token=a", "X-Consul-Token: b")["token"] == "a"
    assert _options("/", "X-Consul-Token: b")["token"] == "b"
    assert _options("/", "Authorization: bearer c d")["token"] == "c"


@pytest.mark.parametrize(
    ("target", "fields", "text"),
    [
        ("/?wait=abc", (), "Invalid wait time"),
        ("/?wait=1d", (), "Invalid wait time"),
        ("/?index=abc", (), "Invalid index"),
        ("/?index=-1", (), "Invalid index"),
        ("/?index=%2B1", (), "Invalid index"),
        ("/?index=18446744073709551616", (), "Invalid index"),
        ("/?max_stale=zzz", (), 'Invalid max_stale value "zzz"'),
        (
            "/?stale=false&consistent",
            (),
            "Cannot specify ?stale with ?consistent, conflicting semantics.",
        ),
        (
            "/?cached&consistent",
            (),
            "Cannot specify ?cached with ?consistent, conflicting semantics.",
        ),
        ("/", ("Cache-Control: max-age=x",), "Invalid Cache-Control header."),
        ("/", ("Cache-Control: Stale-If-Error=",), "Invalid Cache-Control header."),
        ("/?wait=x&max_stale=z", (), 'Invalid max_stale value "z"'),
        ("/?wait=x", ("Cache-Control: max-age=x",), "Invalid Cache-Control header."),
        ("/?wait=x&index=x", (), "Invalid wait time"),
    ],
)
def test_bad_values_are_refused_in_the_words_of_consul(target, fields, text):
    """Each parameter has its text, and they are looked at in a fixed order."""
    with pytest.raises(BadRequest) as refusal:
        _options(target, *fields)
    assert str(refusal.value) == text


def test_parameters_count_by_presence():
    """Any value, and none, switches a mode on; an empty number is none."""
    options = _options("/?stale=false&index=&wait=-5s")
    assert options["allow_stale"] is True
    assert options.get("min_query_index", 0) == 0
    assert options["max_query_time"] == 0


def test_max_stale_makes_a_read_stale():
    """A positive bound implies stale; zero and less mean nothing."""
    options = _options("/?max_stale=10s")
    assert (options["allow_stale"], options["max_stale_duration"]) == (
        True,
        10 * _SECOND,
    )
    assert "allow_stale" not in _options("/?max_stale=-1s")


def test_discovery_max_stale_is_for_plain_catalog_reads():
    """The configured bound applies to catalog and health reads that name no mode."""
    settings = {"discovery_max_stale": 1.5}
    options = _options("/v1/catalog/nodes", **settings)
    assert options["allow_stale"] is True
    assert options["max_stale_duration"] == 1_500_000_000
    assert "allow_stale" not in _options("/v1/catalog/nodes?leader", **settings)
    assert "allow_stale" not in _options("/v1/kv/a", **settings)


def test_the_agent_cache_can_be_switched_off():
    """Without the cache ``?cached`` means nothing."""
    assert _options("/?cached")["use_cache"] is True
    assert "use_cache" not in _options("/?cached&consistent", http_use_cache=False)


def test_max_age_zero_asks_for_revalidation():
    """An answer of no age must be looked up again."""
    assert _options("/", "Cache-Control: max-age=0")["must_revalidate"] is True


def test_write_options_have_datacenter_and_token():
    """Writes know nothing of consistency."""
    request = _request("/v1/kv/a?dc=dc2&stale", "X-Consul-Token: t")
    assert write_options(request, HTTPAgent()) == {"datacenter": "dc2", "token": "t"}


def test_near_names_a_node():
    """``_agent`` stands for this agent's node."""
    source = near(_request("/?near=_agent"), HTTPAgent())
    assert (source.datacenter, source.node, source.ip) == ("dc1", "n1", "10.0.0.9")
    forwarded = _request("/", "X-Forwarded-For: 1.2.3.4, 5.6.7.8")
    assert source_address(forwarded) == "1.2.3.4"


def test_node_metadata_may_repeat():
    """Every pair must hold; a value may contain colons."""
    request = _request("/?node-meta=a:b&node-meta=c:d:e&node-meta=f")
    assert node_meta(request) == {"a": "b", "c": "d:e", "f": ""}
    assert node_meta(_request("/")) is None


@pytest.mark.parametrize(
    ("target", "field", "where"),
    [
        ("/?ns=x", "X-A: b", 'query parameter: "ns"'),
        ("/", "X-Consul-Namespace: x", 'header: "X-Consul-Namespace"'),
    ],
)
def test_namespaces_are_refused(target, field, where):
    """Only Enterprise has namespaces."""
    with pytest.raises(BadRequest) as refusal:
        refuse_namespace(_request(target, field))
    assert str(refusal.value) == (
        f"Bad request: Invalid {where} - Namespaces are a Consul Enterprise feature"
    )


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/v1/kv/a?token=secret&dc=x", "/v1/kv/a?token=<hidden>&dc=x"),
        ("/v1/kv/a?dc=x;token=secret", "/v1/kv/a?dc=x;token=<hidden>"),
        ("/v1/kv/a?%74oken=secret", "/v1/kv/a?%74oken=<hidden>"),
        ("/v1/acl/info/secret?x", "/v1/acl/info/<hidden>?x"),
        ("/v1/kv/token=a", "/v1/kv/token=a"),
    ],
)
def test_secrets_do_not_reach_the_log(target, shown):
    """Tokens in a target are hidden, however they are written."""
    assert redacted_target(_request(target)) == shown


def test_query_strings_are_parted_as_go_1_14_did():
    """Ampersands and semicolons part; plus signs are spaces; escapes must be whole."""
    assert [*query_pairs("a=1;b=x+y&&c&d=%41%ff")] == [
        ("a", "1"),
        ("b", "x y"),
        ("c", ""),
        ("d", "A\udcff"),
    ]
    with pytest.raises(ValueError, match="escape"):
        [*query_pairs("%zz")]
