"""The declarations of keys, and the reference made of them."""

import attrs

from consultwist.config.agent_flags import FLAGS_BY_KEY
from consultwist.config.merge import AGENT_AND_DEFINITION_KEYS
from consultwist.config.runtime import (
    KEY,
    AutoConfig,
    AutoConfigAuthorizer,
    CacheConfig,
    LoggingConfig,
    RuntimeConfig,
    SOAConfig,
    TelemetryConfig,
)
from consultwist.config.schema import reference_rows

PATHS = [key.path for key in AGENT_AND_DEFINITION_KEYS]


def test_every_key_is_declared_once():
    """Two declarations of one key would contradict each other one day."""
    assert len(PATHS) == len(set(PATHS))


def test_every_setting_is_a_key():
    """An attribute of the configuration names a key that exists."""
    records = (
        *(RuntimeConfig, SOAConfig, CacheConfig, LoggingConfig, TelemetryConfig),
        *(AutoConfig, AutoConfigAuthorizer),
    )
    keys = [
        field.metadata[KEY]
        for record in records
        for field in attrs.fields(record)
        if field.metadata.get(KEY)
    ]
    assert set(keys) <= set(PATHS)


def test_every_flag_sets_a_key():
    """A flag without a key would be forgotten silently."""
    assert set(FLAGS_BY_KEY) <= set(PATHS)


def test_newer_names_stand_for_keys_of_the_release():
    """Values go where they mean something."""
    targets = {key.stands_for for key in AGENT_AND_DEFINITION_KEYS if key.stands_for}
    assert targets <= set(PATHS)


def test_reference_rows():
    """The reference shows type, default, flag and what there is to remark."""
    rows = {
        row.key: row for row in reference_rows(AGENT_AND_DEFINITION_KEYS, FLAGS_BY_KEY)
    }
    assert rows["ports.http"].default == "8500"
    assert rows["ports.http"].flag == "-http-port"
    assert rows["log_level"].reloadable
    assert rows["log_level"].remark == "DEBUG with -dev"
    assert rows["audit.enabled"].remark == "Enterprise: accepted, without effect"
    assert rows["ui_config.dir"].remark == "newer spelling of ui_dir"
    assert "without effect" in rows["peering.enabled"].remark
