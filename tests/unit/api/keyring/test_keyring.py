"""The gossip keys over HTTP and RPC, with pools that answer as told."""

import base64
from types import SimpleNamespace

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from consultwist.api.keyring.http import KeyringRoutes
from consultwist.api.keyring.rpc import Keyring
from consultwist.errors import BadRequest
from consultwist.gossip.serf.keys import KeySurvey
from consultwist.testing.local_api import LocalAPI

KEY = base64.b64encode(b"k" * 16).decode()


class FakePools:
    """Pools that remember what they were asked, and answer what a test says."""

    has_wan = True

    def __init__(self):
        self.asked = []
        self.answers = {
            "WAN": succeed(KeySurvey(members=1, responses=1)),
            "LAN": succeed(KeySurvey(members=2, responses=2)),
        }

    def keyring(self, operation, key, relay_factor):
        self.asked.append((operation, key, relay_factor))
        return [(pool, "", answer) for pool, answer in self.answers.items()]


@pytest.fixture
def api():
    """The API of a server that is in two pools."""
    made = LocalAPI([], [Keyring()], [KeyringRoutes()])
    made.server.membership = FakePools()
    return made


def test_keys_are_listed_pool_by_pool(api):
    """The WAN pool comes first; each key tells on how many members it is."""
    survey = KeySurvey(members=2, responses=2, keys={KEY: 2}, primary_keys={KEY: 1})
    api.server.membership.answers["LAN"] = succeed(survey)
    wan, lan = api.client.get("/v1/operator/keyring").json
    assert (wan["WAN"], wan["NumNodes"]) == (True, 1)
    assert lan == {
        "WAN": False,
        "Datacenter": "dc1",
        "Segment": "",
        "Keys": {KEY: 2},
        "PrimaryKeys": {KEY: 1},
        "NumNodes": 2,
    }


def test_only_the_own_datacenter_may_be_asked(api):
    """With local-only the WAN pool is left alone."""
    (only,) = api.client.get("/v1/operator/keyring?local-only=true").json
    assert not only["WAN"]


@pytest.mark.parametrize(
    ("method", "operation"),
    [("POST", "install"), ("PUT", "use"), ("DELETE", "remove")],
)
def test_each_method_is_a_change(api, method, operation):
    """The key is decoded, the relay factor passed on; the answer is empty."""
    body = b'{"Key": "%s"}' % KEY.encode()
    api.client.ask(method, "/v1/operator/keyring?relay-factor=3", body)
    answer = api.client.answer()
    assert (answer.status, answer.body) == (200, b"")
    assert api.server.membership.asked == [(operation, b"k" * 16, 3)]


def test_what_members_could_not_do_is_told_by_name(api):
    """The error counts the lines: one for the pool and one for each member."""
    survey = KeySurvey(members=1, responses=1, errors=1, messages={"n1": "No."})
    api.server.membership.answers = {"LAN": succeed(survey)}
    answer = api.client.get("/v1/operator/keyring")
    assert answer.status == 500
    assert answer.text == (
        "2 errors occurred:\n\t* dc1 (LAN) error: 1/1 nodes reported failure\n"
        "\t* n1: No.\n\n"
    )


def test_members_that_do_not_answer_are_counted(api):
    """Silence is no success."""
    survey = KeySurvey(members=3, responses=2, keys={KEY: 2})
    api.server.membership.answers = {"LAN": succeed(survey)}
    answer = api.client.get("/v1/operator/keyring")
    assert "dc1 (LAN) error: 2/3 nodes reported success" in answer.text


def test_a_pool_that_fails_does_not_hide_the_others(api):
    """What goes wrong in one pool is told beside what the others said."""
    api.server.membership.answers["WAN"] = fail(BadRequest("stopped"))
    answer = api.client.get("/v1/operator/keyring")
    assert answer.text == "1 error occurred:\n\t* WAN error: stopped\n\n"


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("relay-factor=9", "Relay factor must be in range: [0, 5]"),
        ("relay-factor=x", "Relay factor must be in range: [0, 5]"),
        ("local-only=x", 'strconv.ParseBool: parsing "x": invalid syntax'),
    ],
)
def test_wrong_parameters_are_refused(api, query, text):
    """With Consul's words, and nobody is asked."""
    answer = api.client.get(f"/v1/operator/keyring?{query}")
    assert answer.status == 400
    assert text in answer.text
    assert api.server.membership.asked == []


def test_a_key_that_is_none_is_refused_before_it_travels(api):
    """No member has to look at it."""
    answer = api.client.put("/v1/operator/keyring", b'{"Key": "short"}')
    assert answer.status == 500
    assert answer.text == (
        "2 errors occurred:\n\t* WAN error: illegal base64 data at input byte 4\n"
        "\t* dc1 (LAN) error: illegal base64 data at input byte 4\n\n"
    )
    assert api.server.membership.asked == []


def test_the_answer_waits_for_the_members(api):
    """It comes when all pools have answered."""
    waiting: Deferred[object] = Deferred()
    api.server.membership.answers = {"LAN": waiting}
    api.client.ask("GET", "/v1/operator/keyring")
    assert not api.client.transport.written
    waiting.callback(KeySurvey(members=1, responses=1))
    assert api.client.answer().status == 200


def test_a_client_without_a_wan_pool_is_told_of_one_pool(api):
    """A server without the WAN pool reports only on its LAN."""
    api.server.membership = SimpleNamespace(has_wan=False, keyring=lambda *_: [])
    answer = api.client.put("/v1/operator/keyring", b'{"Key": "x"}')
    assert answer.text.startswith("1 error occurred:")
