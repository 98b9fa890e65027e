"""Options that all tests share."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let scripts take over the output that there is now."""
    parser.addoption(
        "--rewrite",
        action="store_true",
        help="write the actual output of data-driven scripts into them",
    )


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    """Tell whether scripts are to be rewritten."""
    return bool(request.config.getoption("--rewrite"))
