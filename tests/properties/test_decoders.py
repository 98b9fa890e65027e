"""Whatever bytes arrive, decoders read them or refuse them as they say.

`tests/fuzz` lets the same functions run for hours, guided by coverage; here each runs
for a moment, on captured bytes that were changed a little.
"""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consultwist.testing.decoder_seeds import seeds
from consultwist.testing.decoders import DECODERS

_VECTORS = Path(__file__).parents[1] / "vectors"


@pytest.mark.parametrize("name", DECODERS)
def test_captured_bytes_are_taken(name):
    """As they are, and cut off anywhere among their first bytes."""
    for seed in seeds(name, _VECTORS):
        DECODERS[name](seed)
        DECODERS[name](seed[: len(seed) // 2])


@pytest.mark.parametrize("name", DECODERS)
def test_changed_bytes_are_read_or_refused(name):
    """Bytes are overwritten, left out and put in between."""
    decode, known = DECODERS[name], seeds(name, _VECTORS)

    @given(
        seed=st.sampled_from(known),
        at=st.integers(0, 400),
        left_out=st.integers(0, 8),
        put_in=st.binary(max_size=8),
    )
    def check(seed, at, left_out, put_in):
        start = at % (len(seed) + 1)
        decode(seed[:start] + put_in + seed[start + left_out :])

    check()


@pytest.mark.parametrize("name", DECODERS)
@given(data=st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(name, data):
    """Short ones, which no sender would send."""
    DECODERS[name](data)
