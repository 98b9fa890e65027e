"""From method and path to what answers."""

import pytest

from consultwist.errors import ConfigError, MethodNotAllowed
from consultwist.http.messages import Head, Request, Response
from consultwist.http.router import Route, Router, collect_routes, route

_SIZES = {"kv_max_value_size": 512}


class _Endpoints:
    """Some routes."""

    @route("GET", "/v1/status/leader")
    def leader(self, request):
        return "leader"

    @route("GET", "/v1/kv/")
    def get_key(self, request):
        return request.rest

    @route("PUT", "/v1/kv/", body_limit="kv_max_value_size")
    def put_key(self, request):
        return True

    @route("DELETE", "/v1/kv/")
    def delete_key(self, request):
        return True

    @route("PUT", "/v1/acl/policy")
    def create_policy(self, request):
        return "created"

    @route("GET POST", "/v1/acl/policy/")
    def policy(self, request):
        return "policy"

    @route("", "/v1/query/")
    def query(self, request):
        return request.method

    @route("GET", "/")
    def root(self, request):
        return Response.text("Consul Agent")


def _router(**options):
    routes = collect_routes(_Endpoints())
    return Router(routes, _SIZES.__getitem__, **options)


def _answer(method, path, raw_query="", **options):
    """Return what the route makes of a request."""
    request = Request(method, path, path, raw_query, Head({}))
    request.route = _router(**options).find(method, path)
    return request.route.function(request)


def test_the_longest_prefix_wins():
    """Exact paths come first, then the longest prefix; the rest is the key."""
    assert _answer("GET", "/v1/status/leader") == "leader"
    assert _answer("GET", "/v1/kv/a/b/c/d/") == "a/b/c/d/"
    assert _answer("PUT", "/v1/acl/policy") == "created"
    assert _answer("GET", "/v1/acl/policy/x") == "policy"
    assert _answer("POST", "/v1/acl/policy/") == "policy"


@pytest.mark.parametrize("path", ["/v1/nope", "/nope", "/v1/status/leader/", "/v1/"])
def test_unknown_paths_are_not_found(path):
    """Nobody claims them: an empty 404."""
    answer = _answer("GET", path)
    assert (answer.status, answer.body) == (404, b"")


def test_another_method_is_not_allowed():
    """The refusal names the methods there are, in a fixed order."""
    with pytest.raises(MethodNotAllowed, match="method PATCH not allowed") as refusal:
        _answer("PATCH", "/v1/kv/a")
    assert refusal.value.allow == ("OPTIONS", "GET", "PUT", "DELETE")
    with pytest.raises(MethodNotAllowed):
        _answer("HEAD", "/v1/status/leader")


def test_options_are_answered():
    """OPTIONS names the methods of the path."""
    assert _answer("OPTIONS", "/v1/kv/a").headers == (
        ("Allow", "OPTIONS,GET,PUT,DELETE"),
    )


def test_a_route_may_test_the_method_itself():
    """A route without methods gets all requests."""
    assert _answer("OPTIONS", "/v1/query/x") == "OPTIONS"
    assert _answer("PATCH", "/v1/query/x") == "PATCH"


def test_a_missing_slash_is_added():
    """A prefix without its slash redirects, with the query, for every method."""
    answer = _answer("GET", "/v1/kv", "dc=x")
    assert answer.status == 301
    assert answer.headers == (("Location", "/v1/kv/?dc=x"),)
    assert answer.body == b'<a href="/v1/kv/?dc=x">Moved Permanently</a>.\n\n'
    answer = _answer("DELETE", "/v1/kv")
    assert (answer.status, answer.body) == (301, b"")


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/v1/kv/a//b", "/v1/kv/a/b"),
        ("//v1/kv/a", "/v1/kv/a"),
        ("/v1/kv/a/../b/", "/v1/kv/b/"),
        ("/v1/kv/a/./é", "/v1/kv/a/%C3%A9"),
    ],
)
def test_untidy_paths_are_cleaned(path, location):
    """Empty and dotted parts of a path redirect to the path without them."""
    answer = _answer("GET", path)
    assert (answer.status, dict(answer.headers)["Location"]) == (301, location)


@pytest.mark.parametrize("path", ["/v1/kv/a\x01b", "/v1/kv/a\u00a0b", "/nope\n"])
def test_unprintable_paths_are_refused(path):
    """An empty 400, before anything else."""
    answer = _answer("GET", path)
    assert (answer.status, answer.body) == (400, b"")


def test_unprintable_paths_can_be_allowed():
    """The filter can be switched off; bytes that are not UTF-8 always pass."""
    assert _answer("GET", "/v1/kv/a\x01b", refuse_unprintable=False) == "a\x01b"
    assert _answer("GET", "/v1/kv/\udcff") == "\udcff"


def test_body_limits_come_from_the_configuration():
    """A limit may be named, and is then looked up."""
    found = _router().find("PUT", "/v1/kv/a")
    assert (found.body_max, found.limit_name) == (512, "kv_max_value_size")
    assert _router().find("POST", "/v1/kv/a").reads_body is False


def test_two_claims_to_one_path_are_refused():
    """The error names the path and both claimants."""
    clash = Route(("GET",), "/v1/kv/", lambda _: None, owner="acme.kv")
    with pytest.raises(ConfigError, match=r"GET /v1/kv/ .*_Endpoints and acme\.kv"):
        Router([*collect_routes(_Endpoints()), clash], _SIZES.__getitem__)


def test_every_route_is_listed():
    """All declared routes are there, sorted by path, for the documentation."""
    listed = [one.path for one in _router().routes() if one.owner]
    assert listed == sorted(listed)
    assert {"/v1/kv/", "/v1/query/", "/"} <= set(listed)


def test_a_prefix_within_another_is_found():
    """The longest prefix answers, whatever is behind it."""
    paths = ("/v1/a/", "/v1/a/b/", "/v1/c/")
    routes = [Route(("GET",), path, lambda _: None) for path in paths]
    router = Router(routes, lambda _: 0)
    for path, claimed in {
        "/v1/a/x/y/z": "/v1/a/",
        "/v1/a/b/c/d": "/v1/a/b/",
        "/v1/c/b/c": "/v1/c/",
    }.items():
        assert router.find("GET", path).path == claimed
