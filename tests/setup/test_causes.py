"""What setup says of servers that fail, each in the words of its own failure, on real connections."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path

import pytest

from activities.contract import outdated
from activities.setup import Result, State
from tests.bench import HasEnv
from tests.setup.conftest import Run
from tests.setup.servers import hanging, http, self_signed

SERVERS = ("vault", "postgres", "elasticsearch", "clickhouse", "s3", "redis", "temporal", "platform API")


def addresses(host: str, *, tls: bool = False) -> dict[str, str]:
    """Every server at one host and port."""
    s = "s" if tls else ""
    return {
        "POSTGRES__DSN": f"postgresql://postgres:secret-word@{host}/postgres?sslmode={'require' if tls else 'disable'}",
        "ELASTICSEARCH__URL": f"http{s}://{host}",
        "CLICKHOUSE__URL": f"http{s}://{host}/",
        "S3__ENDPOINT_URL": f"http{s}://{host}",
        "REDIS__URL": f"redis{s}://:secret-word@{host}/0",
        "TEMPORAL__ADDRESS": host,
        "API__BASE_URL": f"http{s}://{host}",
        **({"TEMPORAL__TLS": "true"} if tls else {}),
    }


def said(result: Result) -> str:
    return " ".join(map(str, result.findings))


def check(results: dict[str, Result], name: str, state: State, words: str) -> None:
    assert results[name].state is state, (name, results[name])
    assert re.search(words, said(results[name])), (name, results[name])
    assert "secret-word" not in said(results[name])
    assert "ann@x.io" not in said(results[name])


async def test_a_port_that_nobody_listens_on_is_told(answers: Run) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        results = await answers(**addresses(f"127.0.0.1:{unused.getsockname()[1]}"))
    for name in SERVERS:
        check(results, name, State.UNREACHABLE, "connection refused, nothing listens there")
    for name, variable in (
        ("postgres", "ERASURE_POSTGRES__DSN"),
        ("vault", "ERASURE_VAULT__ENDPOINT_URL"),
        ("redis", "ERASURE_REDIS__URL"),
        ("temporal", "ERASURE_TEMPORAL__ADDRESS"),
    ):
        assert variable in said(results[name])
    for name in ("python", "packages", "data map", "vault key"):
        assert results[name].state is State.OK, "what needs no server is fine all the same"


async def test_a_host_name_that_is_not_known_is_told(answers: Run) -> None:
    results = await answers(**addresses("nosuch.invalid:1234"))
    for name in SERVERS:
        check(results, name, State.UNREACHABLE, "its host name")


async def test_tls_against_a_server_without_it_is_told(answers: Run, stack: HasEnv) -> None:
    env = stack.env
    results = await answers(
        seconds=8,
        POSTGRES__DSN=f"{env['ERASURE_POSTGRES__DSN']}?sslmode=require",
        ELASTICSEARCH__URL=env["ERASURE_ELASTICSEARCH__URL"].replace("http:", "https:"),
        CLICKHOUSE__URL=env["ERASURE_CLICKHOUSE__URL"].replace("http:", "https:"),
        S3__ENDPOINT_URL=env["ERASURE_S3__ENDPOINT_URL"].replace("http:", "https:"),
        REDIS__URL=env["ERASURE_REDIS__URL"].replace("redis:", "rediss:"),
        API__BASE_URL=env["ERASURE_API__BASE_URL"].replace("http:", "https:"),
        TEMPORAL__TLS="true",
    )
    for name in ("elasticsearch", "clickhouse", "s3", "platform API"):
        check(results, name, State.FAILED, "what listens there does not speak TLS")
    check(results, "postgres", State.FAILED, "does not take TLS .* sslmode in ERASURE_POSTGRES__DSN")
    check(results, "redis", State.UNREACHABLE, "no answer within 8 s. Check host, port, and TLS or not")
    check(results, "temporal", State.UNREACHABLE, "does not speak TLS|wants TLS")


async def test_a_certificate_that_nobody_vouches_for_is_told(answers: Run, tmp_path: Path) -> None:
    async with http(tls=self_signed(tmp_path)) as port:
        results = await answers(**addresses(f"localhost:{port}", tls=True))
    for name in ("elasticsearch", "clickhouse", "s3", "vault", "redis", "platform API"):
        check(results, name, State.FAILED, r"its certificate is not accepted \(self-signed certificate\)")
    check(results, "temporal", State.UNREACHABLE, "its certificate is not accepted")
    assert "ERASURE_ELASTICSEARCH__CA_CERTS" in said(results["elasticsearch"])


async def test_another_server_than_the_one_looked_for_is_told(answers: Run) -> None:
    async with http() as port:
        results = await answers(seconds=8, **addresses(f"127.0.0.1:{port}"))
    check(results, "elasticsearch", State.FAILED, "what answers is not Elasticsearch")
    check(results, "clickhouse", State.FAILED, "what answers is not ClickHouse's HTTP interface")
    check(results, "s3", State.FAILED, "what answers is not S3")
    check(results, "vault", State.FAILED, "what answers is not S3")
    check(results, "redis", State.FAILED, "what answers is not Redis")
    check(results, "temporal", State.UNREACHABLE, "what answers is not Temporal")
    check(results, "platform API", State.UNREACHABLE, "/health answers 404")
    assert results["postgres"].state is State.UNREACHABLE


@pytest.mark.parametrize(
    ("status", "body", "headers", "words"),
    [
        (200, '{"version": {"distribution": "opensearch", "number": "2.11"}}', {}, "is not Elasticsearch.*OpenSearch"),
        (
            400,
            '{"error": {"root_cause": [{"type": "media_type_header_exception"}]}, "status": 400}',
            {"X-Elastic-Product": "Elasticsearch"},
            "is too old: .* Upgrade it to 9",
        ),
        (401, "<html>who are you?</html>", {}, "the credentials are not accepted"),
    ],
    ids=["OpenSearch", "Elasticsearch 8", "a proxy"],
)
async def test_what_resembles_elasticsearch_is_told_from_it(
    answers: Run, status: int, body: str, headers: dict[str, str], words: str
) -> None:
    async with http(status, body, headers) as port:
        results = await answers(ELASTICSEARCH__URL=f"http://127.0.0.1:{port}")
    check(results, "elasticsearch", State.FAILED, words)


async def test_wrong_names_and_credentials_are_told(answers: Run, stack: HasEnv) -> None:
    results = await answers(
        POSTGRES__DSN=f"{stack.env['ERASURE_POSTGRES__DSN'].rpartition('/')[0]}/nowhere",
        CLICKHOUSE__DATABASE="nowhere",
        S3__SECRET_KEY="secret-word",
        REDIS__URL=stack.env["ERASURE_REDIS__URL"].replace("redis://", "redis://nobody:secret-word@"),
        TEMPORAL__NAMESPACE="nowhere",
    )
    check(results, "postgres", State.FAILED, "there is no such database")
    check(results, "clickhouse", State.FAILED, "the database does not exist")
    check(results, "s3", State.FAILED, "the secret key is not the access key's")
    check(results, "vault", State.FAILED, "the secret key is not the access key's")
    check(results, "redis", State.FAILED, "the login is refused")
    check(results, "temporal", State.FAILED, "there is no namespace nowhere")
    check(results, "workers", State.FAILED, "there is no namespace nowhere")


async def test_servers_that_hang_are_given_up_in_time_and_hold_up_no_other_check(answers: Run) -> None:
    async with hanging() as port:
        began = time.monotonic()
        results = await answers(seconds=2, **addresses(f"127.0.0.1:{port}"))
        took = time.monotonic() - began
    for name in SERVERS:
        check(results, name, State.UNREACHABLE, "no answer within 2 s")
    for name in ("python", "packages", "data map", "vault key"):
        assert results[name].state is State.OK
    assert took < 8


def test_a_server_that_is_too_old_is_told_with_the_version_that_will_do() -> None:
    assert [str(finding) for finding in outdated("postgres", "15.9 (Debian 15.9-1)", "16")] == [
        "postgres: version 15.9 (Debian 15.9-1) is too old. Upgrade it to 16 or newer."
    ]
    for version in ("16.0", "18.4", "16beta1"):
        assert list(outdated("postgres", version, "16")) == []
    assert list(outdated("temporal", "1.9.1", "1.24"))
    assert list(outdated("temporal", "1.29.1", "1.24")) == []
