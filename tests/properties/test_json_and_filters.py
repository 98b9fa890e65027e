"""Whatever clients write, JSON and filters are read or refused."""

import contextlib
import json as stdlib_json
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from consultwist.errors import BadRequest, WireError
from consultwist.structs.catalog import CheckServiceNode, Node, ServiceDefinition
from consultwist.structs.filter import compile_filter
from consultwist.structs.kv import DirEntry
from consultwist.wire import json
from consultwist.wire.json_decode import decode, decode_base64, decode_plain
from consultwist.wire.json_scan import first_value

_plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)
_json_bytes = _plain.map(lambda value: stdlib_json.dumps(value).encode())
_broken = st.builds(
    lambda data, at, byte: data[: at % (len(data) + 1)] + byte + data[at % 9 :],
    _json_bytes,
    st.integers(0, 200),
    st.binary(max_size=2),
)


@settings(deadline=None)
@given(_plain)
def test_json_comes_back(value):
    """What was written is read back, whatever characters it holds."""
    assert stdlib_json.loads(json.encode(value)) == value
    assert decode_plain(json.encode(value)) == value


@settings(deadline=None)
@given(_json_bytes, st.binary(max_size=5))
def test_what_follows_a_value_is_ignored(data, rest):
    """The first value ends where Go's decoder ends it."""
    assert first_value(data + b" " + rest) == data
    assert decode_plain(data + b" " + rest) == stdlib_json.loads(data)


@settings(deadline=None)
@given(_broken | st.binary(max_size=30))
def test_any_body_is_decoded_or_refused(data):
    """No bytes make the decoder fail in any other way than by its own error."""
    for record in (ServiceDefinition, DirEntry):
        with contextlib.suppress(WireError):
            assert isinstance(decode(record, data), record)


@settings(deadline=None)
@given(st.binary(max_size=40), st.text(max_size=8))
def test_base64_comes_back_or_is_placed(data, noise):
    """Base64 is decoded, or refused with a position inside the text."""
    text = stdlib_json.loads(json.encode(data))
    assert decode_base64(text) == data
    broken = text[: len(noise)] + noise
    try:
        decode_base64(broken)
    except WireError as error:
        at = int(str(error).rsplit(" ", 1)[1])
        assert 0 <= at <= len(broken.encode("utf-8", "surrogateescape"))


_words = st.sampled_from(
    [
        "Node", "Meta.a", 'Meta["a b"]', "Checks.Status", "and", "or", "not", "in",
        "is", "empty", "contains", "matches", "==", "!=", "(", ")", '"x"', "`y`",
        "x", "7", "-1.5", '"[a-z]+"', ".", "[", '"', " ",
    ]
)  # fmt: skip
_expressions = st.lists(_words, max_size=12).map(" ".join) | st.text(max_size=20)


@settings(deadline=None, max_examples=300)
@given(_expressions)
def test_any_filter_is_compiled_or_refused(expression):
    """A filter works on a record, or is refused with a place in it."""
    for row in (Node(node="x", meta={"a": "y"}), CheckServiceNode()):
        refusal = ""
        try:
            assert compile_filter(expression, type(row))(row) in (True, False)
        except BadRequest as error:
            refusal = str(error)
        where = re.search(r"evaluator: \d+:\d+ \((\d+)\): ", refusal)
        assert where is None or int(where[1]) <= len(expression.encode())


_conditions = st.sampled_from(
    ["Node == x", "Node == z", 'Meta.a != "y"', "x in Node", "Meta is empty"]
)
_trees = st.recursive(
    _conditions,
    lambda inner: (
        st.builds("({} and {})".format, inner, inner)
        | st.builds("({} or {})".format, inner, inner)
        | st.builds("not {}".format, inner)
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(_trees)
def test_boolean_operators_mean_what_they_say(expression):
    """A filter keeps what Python's own operators would keep."""
    row = Node(node="x", meta={"a": "y"})
    truth = expression
    for condition in ("Node == x", "x in Node"):
        truth = truth.replace(condition, "True")
    for condition in ("Node == z", 'Meta.a != "y"', "Meta is empty"):
        truth = truth.replace(condition, "False")
    assert compile_filter(expression, Node)(row) is eval(truth)
