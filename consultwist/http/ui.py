"""The web user interface: static files, and what the root path answers.

With the interface on, ``/`` leads to it; else it tells that an agent is here. The
files are those of this package, or of the folder that ``ui_dir`` names.
"""

import mimetypes
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import consultwist.ui
from consultwist.config.runtime import RuntimeConfig
from consultwist.errors import NotFound
from consultwist.http.messages import Request, Response
from consultwist.http.router import Route

_FILES: Final = Path(consultwist.ui.__file__).with_name("static")
_START_PAGE: Final = "index.html"

#: Larger files are no part of a user interface.
_FILE_SIZE_MAX: Final = 16 * 1024 * 1024

_HTML: Final = "text/html; charset=utf-8"


def ui_routes(config: RuntimeConfig) -> Iterable[Route]:
    """Return the routes of the root path and of the user interface."""
    if not (config.enable_ui or config.ui_dir):
        return [_route("/", _banner)]
    path = config.ui_content_path
    folder = Path(config.ui_dir) if config.ui_dir else _FILES
    pages = UserInterface(folder.resolve(), path)
    return [_route("/", pages.redirect), _route(path, pages.page)]


def _route(path: str, function: Callable[[Request], Response]) -> Route:
    return Route(("GET",), path, function, api=False, owner=__name__)


def _banner(_: Request) -> Response:
    return Response.text("Consul Agent")


class UserInterface:
    """Serves the files of one folder.

    Args:
        folder: where the files are; nothing outside is ever served.
        path: the path under which they are, with a slash at both ends.
    """

    def __init__(self, folder: Path, path: str) -> None:
        self._folder = folder
        self._path = path

    def redirect(self, _: Request) -> Response:
        """Lead from the root to the start page."""
        text = f'<a href="{self._path}">Moved Permanently</a>.\n\n'
        return Response.text(
            text,
            status=301,
            content_type=_HTML,
            headers=(("Location", self._path),),
        )

    def page(self, request: Request) -> Response:
        """Return a file; paths without one are views of the start page.

        Raises:
            NotFound: where a file is asked for that is not there.
        """
        wanted = request.rest or _START_PAGE
        file = (self._folder / wanted).resolve()
        if not file.is_relative_to(self._folder) or not file.is_file():
            if "." in wanted.rpartition("/")[2]:
                raise NotFound(f"no file {wanted}")
            file = self._folder / _START_PAGE
        if not file.is_file() or file.stat().st_size > _FILE_SIZE_MAX:
            raise NotFound(f"no file {wanted}")
        kind, _ = mimetypes.guess_type(file.name)
        return Response(
            file.read_bytes(),
            content_type=_HTML if kind == "text/html" else kind or "text/plain",
        )
