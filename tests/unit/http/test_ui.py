"""The web user interface's files, and the root path."""

import pytest

from consultwist.errors import NotFound
from consultwist.http.messages import Head, Request
from consultwist.http.ui import ui_routes
from consultwist.testing.config import make_config


def ask(path, **config):
    """Return the answer to a path, with the user interface as configured."""
    routes = {route.path: route for route in ui_routes(make_config(dev=True, **config))}
    found = path if path in routes else next(p for p in routes if p != "/")
    request = Request("GET", path, path, "", Head({}))
    request.route = routes[found]
    return routes[found].function(request)


def test_without_the_interface_the_root_tells_that_an_agent_is_here():
    """Health checkers ask for the root path."""
    answer = ask("/", ui=False)
    assert (answer.status, answer.body) == (200, b"Consul Agent")


def test_with_the_interface_the_root_leads_to_it():
    """As a stock agent does, with a text for those who do not follow."""
    answer = ask("/", ui=True)
    assert answer.status == 301
    assert dict(answer.headers)["Location"] == "/ui/"
    assert answer.body == b'<a href="/ui/">Moved Permanently</a>.\n\n'


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/ui/", "text/html; charset=utf-8"),
        ("/ui/style.css", "text/css"),
        ("/ui/dc1/services", "text/html; charset=utf-8"),
    ],
)
def test_files_and_views_are_served(path, content_type):
    """What is no file is a view, which the start page shows."""
    answer = ask(path, ui=True)
    assert (answer.status, answer.content_type) == (200, content_type)
    assert answer.body


def test_the_path_of_the_interface_can_be_moved():
    """`ui_content_path` puts it elsewhere."""
    answer = ask("/", ui=True, ui_content_path="/consul/")
    assert dict(answer.headers)["Location"] == "/consul/"
    assert ask("/consul/", ui=True, ui_content_path="/consul/").status == 200


def test_a_folder_of_the_users_own_is_served(tmp_path):
    """`ui_dir` replaces the files of the package."""
    (tmp_path / "index.html").write_text("mine")
    assert ask("/ui/", ui_dir=str(tmp_path)).body == b"mine"


@pytest.mark.parametrize("path", ["/ui/../secret.txt", "/ui/missing.js"])
def test_nothing_outside_the_folder_is_served(tmp_path, path):
    """Whatever the path says, and a missing file is not found."""
    folder = tmp_path / "ui"
    folder.mkdir()
    (folder / "index.html").write_text("x")
    (tmp_path / "secret.txt").write_text("secret")
    with pytest.raises(NotFound):
        ask(path, ui_dir=str(folder))
