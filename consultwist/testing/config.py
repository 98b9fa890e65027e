"""Configurations for tests, read as an agent reads its own."""

import json
from typing import Any

from consultwist.config.build import Surroundings, build
from consultwist.config.merge import Source, merge_sources
from consultwist.config.runtime import RuntimeConfig


def make_config(*, dev: bool = False, **values: Any) -> RuntimeConfig:
    """Return the configuration that some keys give, over loopback addresses."""
    keys: dict[str, Any] = {
        "bind_addr": "127.0.0.1",
        "client_addr": "127.0.0.1",
        "node_name": "node",
    }
    source = Source("test", json.dumps(keys | values), "json")
    surroundings = Surroundings(hostname=lambda: "test-host", interfaces=list)
    return build(merge_sources([source], dev=dev), surroundings, dev=dev).config
