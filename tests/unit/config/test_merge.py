"""What wins and what adds up where several sources speak."""

import json

import pytest

from consultwist.config.merge import Source, merge_sources, read_path
from consultwist.errors import ConfigError


def source(**keys):
    return Source("file", json.dumps(keys), "json")


def test_scalars_replace_lists_append_maps_merge():
    """The rules of Consul for several files."""
    merged = merge_sources(
        [
            source(node_name="a", recursors=["1"], node_meta={"x": "1", "y": "1"}),
            source(node_name="b", recursors=["2"], node_meta={"y": "2"}),
        ]
    )
    assert merged.value("node_name") == "b"
    assert merged.value("recursors") == ["1", "2"]
    assert merged.value("node_meta") == {"x": "1", "y": "2"}


def test_sections_merge_key_by_key():
    """A section in a later file leaves the other keys of the section alone."""
    merged = merge_sources([source(ports={"http": 1}), source(ports={"dns": 2})])
    assert merged.value("ports.http") == 1
    assert merged.value("ports.dns") == 2


def test_fragments_win_over_flags_and_flags_over_files():
    """The order of sources is files, flags, -hcl."""
    files = [source(datacenter="file", domain="file", node_name="file")]
    fragments = [Source("flags-0.hcl", 'datacenter = "hcl"', "hcl")]
    merged = merge_sources(
        files, fragments, flags={"datacenter": "flag", "domain": "flag"}
    )
    found = [merged.value(key) for key in ("datacenter", "domain", "node_name")]
    assert found == ["hcl", "flag", "file"]


def test_lists_of_flags_come_before_those_of_files():
    """Consul puts list flags in front."""
    merged = merge_sources([source(recursors=["file"])], flags={"recursors": ["flag"]})
    assert merged.value("recursors") == ["flag", "file"]


def test_definitions_of_several_files_add_up():
    """Single definitions join the lists of all files."""
    merged = merge_sources(
        [
            source(service={"name": "a"}, services=[{"name": "b"}]),
            source(service={"name": "c"}, check={"name": "d"}),
        ]
    )
    assert [s["name"] for s in merged.value("services")] == ["b", "a", "c"]
    assert [c["name"] for c in merged.value("checks")] == ["d"]


def test_fixed_keys_cannot_be_set():
    """Keys for Consul's own tests are accepted and change nothing."""
    merged = merge_sources([source(segment_limit=1, consul={"raft": {}})])
    assert merged.value("segment_limit") == 64
    assert merged.value("consul.raft.election_timeout") == "1000ms"


def test_newer_spelling_sets_the_key_of_the_release():
    """A configuration for a later Consul keeps its meaning where there is one."""
    merged = merge_sources(
        [source(ui_config={"enabled": True}, tls={"defaults": {"ca_file": "/ca"}})]
    )
    assert merged.value("ui") is True
    assert merged.value("ca_file") == "/ca"
    assert merged.warnings == []


def test_newer_key_without_meaning_is_reported():
    """A key that came later and has no effect is accepted with a warning."""
    merged = merge_sources([source(peering={"enabled": True})])
    assert merged.warnings == [
        '"peering.enabled" came with Consul 1.13 and will have no effect'
    ]


def test_alias_in_definition():
    """Check definitions also take the spelling of the HTTP API for some keys."""
    merged = merge_sources(
        [source(check={"name": "a", "ScriptArgs": ["x"], "DockerContainerID": "d"})]
    )
    assert merged.value("checks") == [
        {"name": "a", "args": ["x"], "docker_container_id": "d"}
    ]


def test_directory_is_read_in_order_of_names(tmp_path):
    """Only .json and .hcl count, and nothing below."""
    (tmp_path / "b.json").write_text("{}")
    (tmp_path / "a.hcl").write_text("x = 1")
    (tmp_path / "c.txt").write_text("no")
    (tmp_path / "d").mkdir()
    names = [found.name for found in read_path(str(tmp_path))]
    assert names == [str(tmp_path / "a.hcl"), str(tmp_path / "b.json")]


def test_format_makes_all_files_count(tmp_path):
    """With -config-format the ending does not matter."""
    (tmp_path / "c.txt").write_text("{}")
    (found,) = read_path(str(tmp_path), "json")
    assert found.format == "json"


def test_missing_file_is_named(tmp_path):
    """The text is the one Consul gives."""
    file = tmp_path / "none.json"
    with pytest.raises(ConfigError) as caught:
        read_path(str(file))
    assert str(caught.value) == (
        f"config: Open failed on {file}. open {file}: no such file or directory"
    )


def test_unknown_format_is_refused():
    """Only the two formats exist."""
    with pytest.raises(ConfigError, match="must be either 'hcl' or 'json'"):
        read_path("x", "xml")
