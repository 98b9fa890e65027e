"""URLs are read as Go reads them; no text makes the reader stumble."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consultwist.checks.url import URLError, parse_url, resolve_reference


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_refused(text):
    """What is not refused is shown without a character that could break a log."""
    try:
        url = parse_url(text)
    except URLError:
        return
    assert not set("\x00\r\n") & set(url.target + url.host)


@given(st.sampled_from(["http", "https"]), st.from_regex(r"\A[a-z]{1,9}\Z"))
def test_a_plain_url_comes_back_as_it_was(scheme, word):
    """A URL without peculiarities is not changed."""
    text = f"{scheme}://{word}.test:8080/{word}?{word}=1#{word}"
    assert str(parse_url(text)) == text


@pytest.mark.parametrize(
    ("text", "host_name", "port"),
    [
        ("http://a.test", "a.test", ""),
        ("http://a.test:80", "a.test", "80"),
        ("http://a.test:", "a.test", ""),
        ("http://[::1]", "::1", ""),
        ("http://[::1]:80", "::1", "80"),
        ("http://u:p@10.0.0.1:80", "10.0.0.1", "80"),
    ],
)
def test_host_and_port(text, host_name, port):
    """The host is without brackets and port, the port as written."""
    url = parse_url(text)
    assert (url.host_name, url.port) == (host_name, port)


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("/b", "http://a.test/b"),
        ("b", "http://a.test/x/b"),
        ("../b", "http://a.test/b"),
        ("?q", "http://a.test/x/y?q"),
        ("//c.test/d", "http://c.test/d"),
        ("https://c.test/d", "https://c.test/d"),
    ],
)
def test_references_lead_where_they_say(reference, expected):
    """A Location may be relative to what was asked."""
    base = parse_url("http://u:secret@a.test/x/y?z")
    assert str(resolve_reference(base, reference)) == expected


def test_passwords_are_not_shown():
    """A URL for users to read has no password in it."""
    assert str(parse_url("http://u:secret@a.test/")) == "http://u:***@a.test/"
    assert str(parse_url("http://u@a.test/")) == "http://u@a.test/"
