"""What is spread, in which order, and how often."""

from hypothesis import given
from hypothesis import strategies as st

from consultwist.gossip.memberlist.broadcast import TransmitQueue, transmit_limit


def queue(members=9, depth=100, size_max=1396):
    return TransmitQueue(4, lambda: members, lambda: depth, size_max)


def test_the_limit_grows_with_the_logarithm_of_the_pool():
    """Four packets in a small pool, more in a larger one."""
    limits = {n: transmit_limit(4, n) for n in (1, 9, 10, 99, 100, 5000)}
    assert limits == {1: 4, 9: 4, 10: 8, 99: 8, 100: 12, 5000: 16}


def test_a_message_is_sent_up_to_the_limit_and_then_dropped():
    """Each packet to one member counts once."""
    messages = queue()
    number = messages.queue(b"hello")
    for _ in range(4):
        assert number in messages
        assert messages.take(2, 100, 10) == [b"hello"]
    assert number not in messages
    assert messages.take(2, 100, 10) == []


def test_fresh_messages_go_first_then_long_ones_then_new_ones():
    """The order of a packet: fewest transmissions, longest fit, newest."""
    messages = queue()
    messages.queue(b"old")
    messages.take(2, 100, 10)
    for text in (b"aa", b"bb", b"longer"):
        messages.queue(text)
    assert messages.take(2, 100, 10) == [b"longer", b"bb", b"aa", b"old"]


def test_the_longest_that_still_fits_is_taken():
    """What is left of a packet is filled with what fits."""
    messages = queue()
    for size in (50, 40, 30, 20, 10):
        messages.queue(bytes(size))
    assert [len(m) for m in messages.take(2, 66, 10)] == [50, 10]
    assert [len(m) for m in messages.take(2, 66, 1)] == [40]


def test_news_about_a_member_replaces_what_was_said_before():
    """Only the newest claim about a name is spread."""
    messages = queue()
    old = messages.queue(b"suspect", "a")
    messages.queue(b"alive", "a")
    messages.queue(b"other", "b")
    assert old not in messages
    assert sorted(messages.take(2, 100, 10)) == [b"alive", b"other"]


def test_the_queue_is_bounded_and_drops_what_was_sent_most():
    """Over the bound the most sent and oldest go."""
    messages = queue(depth=3)
    messages.queue(b"sent")
    messages.take(2, 100, 1)
    for text in (b"1", b"2", b"3", b"4"):
        messages.queue(text)
    assert len(messages) == 3
    assert messages.dropped == 2
    assert sorted(messages.take(2, 100, 10)) == [b"2", b"3", b"4"]


def test_a_message_that_never_fits_is_refused():
    """It would keep the pool awake for ever."""
    messages = queue(size_max=10)
    assert messages.queue(bytes(11)) not in messages
    assert messages.dropped == 1


@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.sampled_from([None, "a", "b", "c"])),
        max_size=60,
    ),
    st.lists(st.integers(1, 200), max_size=60),
)
def test_nothing_is_lost_doubled_or_overfilled(given_messages, rooms):
    """Whatever is queued and taken, packets fit and counts stay within the limit."""
    messages = queue(depth=40)
    sent: dict[bytes, int] = {}
    for number, (size, name) in enumerate(given_messages):
        messages.queue(number.to_bytes(2, "big") + bytes(size), name)
        assert len(messages) <= 40
    for room in rooms:
        taken = messages.take(2, room, 5)
        assert sum(len(m) + 2 for m in taken) <= room
        assert len(taken) == len(set(taken)) <= 5
        for message in taken:
            sent[message] = sent.get(message, 0) + 1
    assert all(count <= 4 for count in sent.values())
