"""HTTP checks trust whom Consul's trust, and say the same about all others."""

import datetime as dt
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.blackbox.checks.children import ADDRESS, run_checks, servers

pytestmark = pytest.mark.blackbox

S = 1_000_000_000


def write_certificate(folder, name, sans, years=(2020, 2120), client_ca=None):
    """Write a self-signed certificate and its key; return their paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(dt.datetime(years[0], 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(years[1], 1, 1, tzinfo=dt.UTC))
    )
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(sans), False)
    signed = builder.sign(key, hashes.SHA256())
    files = {"cert": str(folder / f"{name}.crt"), "key": str(folder / f"{name}.key")}
    pem = serialization.Encoding.PEM
    (folder / f"{name}.crt").write_bytes(signed.public_bytes(pem))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(
            pem,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files | ({"client_ca": client_ca} if client_ca else {})


def address(text):
    """Return an address as a certificate bears it."""
    return x509.IPAddress(ipaddress.ip_address(text))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Servers with every kind of certificate, and the folder of those."""
    folder = tmp_path_factory.mktemp("certificates")
    here, foo = address(ADDRESS), x509.DNSName("foo.example")
    bar = x509.DNSName("bar.example")
    tls = {
        "self": write_certificate(folder, "self", [here]),
        "noip": write_certificate(folder, "noip", [foo, bar]),
        "otherip": write_certificate(folder, "otherip", [address("10.0.0.1"), foo]),
        "cnonly": write_certificate(folder, "cnonly", []),
        "old": write_certificate(folder, "old", [here], years=(2020, 2021)),
        "star": write_certificate(folder, "star", [x509.DNSName("*.example")]),
    }
    tls["client"] = write_certificate(
        folder, "client", [here], client_ca=tls["self"]["cert"]
    )
    with servers(tls) as ports:
        yield ports, tls


def check(ports, name, **fields):
    """Return the definition of a check of one server."""
    url = f"https://{ADDRESS}:{ports[name]}/ok"
    return {"check_id": name, "http": url, "interval": S, "timeout": 5 * S} | fields


def output_of(reports, name):
    """Return what a check said, without the URL that it begins with."""
    status, output = reports[name]
    return status, output.partition("/ok")[2].removeprefix('"').removeprefix(": ")


#: Captured from 1.8.7, but for the addresses.
UNTRUSTED = {
    "self": "x509: certificate signed by unknown authority",
    "noip": "x509: cannot validate certificate for ADDRESS "
    "because it doesn't contain any IP SANs",
    "cnonly": "x509: cannot validate certificate for ADDRESS "
    "because it doesn't contain any IP SANs",
    "otherip": "x509: certificate is valid for 10.0.0.1, not ADDRESS",
    "refusing": "http: server gave HTTP response to HTTPS client",
    "silent": "EOF",
}


def test_untrusted_servers_are_critical_in_consuls_words(world):
    """Each way to be untrusted has its own words; nothing is sent to such servers."""
    ports, _ = world
    names = list(UNTRUSTED)
    reports = run_checks([check(ports, name) for name in [*names, "old"]])["reports"]
    for name in names:
        expected = UNTRUSTED[name].replace("ADDRESS", ADDRESS)
        assert output_of(reports, name) == ("critical", expected)
    status, output = output_of(reports, "old")
    assert status == "critical"
    assert output.startswith(
        "x509: certificate has expired or is not yet valid: current time "
    )
    assert output.endswith("Z is after 2021-01-01T00:00:00Z")


def test_verification_can_be_skipped(world):
    """tls_skip_verify takes any certificate, but not the lack of TLS."""
    ports, _ = world
    names = ["self", "noip", "cnonly", "otherip", "old"]
    reports = run_checks(
        [check(ports, name, tls_skip_verify=True) for name in [*names, "client"]]
    )["reports"]
    for name in names:
        assert output_of(reports, name) == ("passing", "200 OK Output: ok body")
    assert output_of(reports, "client") == (
        "critical",
        "remote error: tls: certificate required",
    )


def test_the_agents_certificates_can_be_used(world):
    """With agent TLS its authority, its certificate and its server name count."""
    ports, tls = world
    config = {
        "enable_agent_tls_for_checks": True,
        "ca_file": tls["otherip"]["cert"],
        "server_name": "foo.example",
    }
    checks = [check(ports, "otherip"), check(ports, "self")]
    reports = run_checks(checks, config=config)["reports"]
    assert output_of(reports, "otherip") == ("passing", "200 OK Output: ok body")
    words = (
        "x509: certificate is not valid for any names, but wanted to match foo.example"
    )
    assert output_of(reports, "self") == ("critical", words)


def test_the_node_name_counts_where_there_is_no_server_name(world):
    """Without server_name the certificate must bear the name of the node."""
    ports, tls = world
    config = {"enable_agent_tls_for_checks": True, "ca_file": tls["otherip"]["cert"]}
    reports = run_checks([check(ports, "otherip")], config=config)["reports"]
    assert output_of(reports, "otherip") == (
        "critical",
        "x509: certificate is valid for foo.example, not n76",
    )


def test_a_star_stands_for_one_label(world):
    """A wildcard certificate matches one label, not two."""
    ports, tls = world
    for name, status in (("a.example", "passing"), ("a.b.example", "critical")):
        config = {
            "enable_agent_tls_for_checks": True,
            "ca_file": tls["star"]["cert"],
            "server_name": name,
        }
        reports = run_checks([check(ports, "star")], config=config)["reports"]
        assert output_of(reports, "star")[0] == status


def test_the_agent_shows_its_certificate(world):
    """A server that wants a certificate gets the agent's, with agent TLS."""
    ports, tls = world
    config = {
        "enable_agent_tls_for_checks": True,
        "ca_file": tls["client"]["cert"],
        "cert_file": tls["self"]["cert"],
        "key_file": tls["self"]["key"],
        "server_name": ADDRESS,
    }
    reports = run_checks([check(ports, "client")], config=config)["reports"]
    assert output_of(reports, "client") == ("passing", "200 OK Output: ok body")
