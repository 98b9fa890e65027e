"""The exception tree, and errors as texts."""

import pytest

from consultwist import errors
from consultwist.errors import ConsultwistError, MethodNotAllowed, RPCError, from_wire


def _classes(base=ConsultwistError):
    for each in base.__subclasses__():
        if each.__module__ == errors.__name__:
            yield each
            yield from _classes(each)


def test_the_tree_in_the_documentation_is_the_tree():
    """Every class is drawn, and what is drawn exists."""
    drawn = {
        line.split("+--")[1].split()[0]
        for line in (errors.__doc__ or "").splitlines()
        if "+--" in line
    }
    assert drawn == {each.__name__ for each in _classes()}


@pytest.mark.parametrize(
    "kind",
    [
        errors.PermissionDenied,
        errors.ACLNotFound,
        errors.RPCRateExceeded,
        errors.NoLeader,
        errors.NoServers,
        errors.NoPathToDatacenter,
        errors.DatacenterUnavailable,
        errors.NotReadyForConsistentReads,
    ],
)
def test_an_error_that_has_a_meaning_survives_the_wire(kind):
    """It is found again by its text, with the prefix of each hop kept."""
    text = f"rpc error making call: {kind()}"
    error = from_wire(text)
    assert type(error) is kind
    assert str(error) == text
    assert error.status == kind.status


def test_other_texts_stay_texts():
    """What another agent says is passed on."""
    error = from_wire("Missing node registration")
    assert type(error) is RPCError
    assert (str(error), error.status) == ("Missing node registration", 500)


def test_an_error_without_a_message_says_what_its_class_stands_for():
    """Otherwise the message."""
    assert str(errors.NoLeader()) == "No cluster leader"
    assert str(errors.NotFound("no such thing")) == "no such thing"


def test_a_refused_method_tells_which_are_allowed():
    """For the Allow header."""
    error = MethodNotAllowed("method POST not allowed", ("GET", "PUT"))
    assert (error.status, error.allow) == (405, ("GET", "PUT"))
    assert str(error) == "method POST not allowed"
