"""What comes back for a key query is counted."""

from consultwist.gossip.memberlist.keyring import Keyring
from consultwist.gossip.serf import keys, messages
from consultwist.gossip.serf.messages import KeyResponse


def test_every_kind_of_answer_is_counted():
    """Good answers, refusals, wrong types and rubbish."""

    def answer(**fields):
        return messages.encode(messages.KEY_RESPONSE, KeyResponse(**fields))

    found = keys.survey(
        {
            "a": answer(result=True, keys=["k1", "k2"], primary_key="k1"),
            "b": answer(result=True, keys=["k1"], primary_key="k1", message="hm"),
            "c": answer(message="refused"),
            "d": b"\x06\x80",
            "e": b"\x08\xc1",
            "f": b"",
        },
        members=7,
    )
    assert (found.members, found.responses, found.errors) == (7, 6, 4)
    assert found.keys == {"k1": 2, "k2": 1}
    assert found.primary_keys == {"k1": 2}
    assert found.messages["b"] == "hm"
    assert found.messages["c"] == "refused"
    assert "Invalid" in found.messages["d"]
    assert "decode" in found.messages["e"]


def test_a_request_that_cannot_be_read_changes_nothing():
    """Neither wrong types nor rubbish reach the keyring."""
    ring = Keyring([bytes(16)])
    for payload in (b"", b"\x08\x80", b"\x07\xc1", b"\x07\x81\xa3Key\xa1x"):
        response = keys.answer(ring, keys.INSTALL, payload)
        assert not response.result
        assert response.message
    assert ring.keys == [bytes(16)]
