"""The servers of this test run refuse what they should."""

import json
import os
import ssl
import urllib.error
import urllib.request
from pathlib import Path

import hvac
import psycopg
import pytest


@pytest.fixture(scope="module")
def system():
    path = os.environ.get("CARELOOP_TEST_SYSTEM")
    if not path:
        pytest.skip("needs the servers that ./careloop test starts")
    return json.loads(Path(path).read_text())


def connect(system, role, database, **how):
    options = {"sslmode": "verify-full", "sslrootcert": system["ca_file"], **how}
    password = system["postgres"]["roles"][role]
    return psycopg.connect(
        host="127.0.0.1", port=system["postgres"]["port"], user=role, password=password, dbname=database, **options
    )


def test_a_role_enters_its_own_database_alone(system):
    connect(system, "consent", "consent").close()
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        connect(system, "consent", "outreach")


def test_the_database_speaks_tls_only(system):
    with pytest.raises(psycopg.OperationalError, match="pg_hba"):
        connect(system, "consent", "consent", sslmode="disable")


def login(system, principal):
    vault = system["vault"]
    launcher = hvac.Client(url=vault["address"], token=vault["token"], verify=system["ca_file"])
    wrapped = launcher.auth.approle.generate_secret_id(principal, wrap_ttl="60s")["wrap_info"]["token"]
    unwrapper = hvac.Client(url=vault["address"], token=wrapped, verify=system["ca_file"])
    secret_id = unwrapper.sys.unwrap()["data"]["secret_id"]
    client = hvac.Client(url=vault["address"], verify=system["ca_file"])
    client.auth.approle.login(vault["role_ids"][principal], secret_id)
    return client, secret_id


def test_a_secret_id_serves_one_login(system):
    client, secret_id = login(system, "consent")
    with pytest.raises(hvac.exceptions.InvalidRequest):
        client.auth.approle.login(system["vault"]["role_ids"]["consent"], secret_id)


def test_a_principal_makes_keys_for_its_own_topics_alone(system):
    client, _ = login(system, "consent")
    client.secrets.transit.generate_data_key("topic-careloop-consent-preferences", "plaintext")
    with pytest.raises(hvac.exceptions.Forbidden):
        client.secrets.transit.generate_data_key("topic-careloop-gaps-states", "plaintext")


def test_the_launcher_hands_out_identities_only_wrapped_and_reads_no_secret(system):
    vault = system["vault"]
    launcher = hvac.Client(url=vault["address"], token=vault["token"], verify=system["ca_file"])
    with pytest.raises(hvac.exceptions.Forbidden):
        launcher.auth.approle.generate_secret_id("consent")
    with pytest.raises(hvac.exceptions.Forbidden):
        launcher.secrets.kv.v2.read_secret_version("kafka/consent", mount_point="kv", raise_on_deleted_version=True)


def test_certificates_are_checked(system):
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(system["vault"]["address"], context=ssl.create_default_context())
