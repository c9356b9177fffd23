"""A job's URL, the settings of the platform's API, and the data map's table of it."""

from __future__ import annotations

import copy
import tomllib
from typing import Any

import pytest

from activities.datamap import DataMap, DataMapError
from activities.platform_api import Job, JobUrlError, PlatformApiMap
from activities.settings import PlatformApiSettings, SettingsError, load
from tests.processes import ROOT

SOURCE = tomllib.loads((ROOT / "erasure.toml").read_text())

SECRET = "Tell-nobody"
RULES = PlatformApiMap()


@pytest.mark.parametrize(
    ("url", "template", "job"),
    [
        (f"https://platform.example/jobs/5001?secret={SECRET}", None, Job("5001", SECRET)),
        (f" http://127.0.0.1:8080/jobs/a-b_C/?x=1&secret={SECRET}#top \n", None, Job("a-b_C", SECRET)),
        ("https://platform.example/jobs/5001?secret=a%26b%3D", None, Job("5001", "a&b=")),
        (f"https://platform.example/w/{SECRET}/j5/run", "/w/{secret}/{job_id}/run", Job("j5", SECRET)),
        (
            f"https://platform.example/go?job=7&mode=work&k={SECRET}",
            "/go?job={job_id}&mode=work&k={secret}",
            Job("7", SECRET),
        ),
    ],
)
def test_a_jobs_url_names_the_job_and_its_secret(url: str, template: str | None, job: Job) -> None:
    parsed = Job.parse(url, PlatformApiMap(job_url=template) if template else RULES)
    assert parsed == job
    assert job.secret not in repr(parsed)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "does not begin with https://"),
        (f"jobs/5001?secret={SECRET}", "does not begin with https://"),
        (f"ftp://platform.example/jobs/5001?secret={SECRET}", "does not begin with https://"),
        (f"https://[platform/jobs/5001?secret={SECRET}", "is no address"),
        (f"https://platform.example:port/jobs/5001?secret={SECRET}", "is no address"),
        (f"https://ann:{SECRET}@platform.example/jobs/5001?secret={SECRET}", "holds a user or a password"),
        (f"https://platform.example/units/5001?secret={SECRET}", "another path than /jobs/{job_id}"),
        (f"https://platform.example/jobs/5001/{SECRET}?secret={SECRET}", "another path than /jobs/{job_id}"),
        (f"https://platform.example/jobs/{SECRET}%20?secret={SECRET}", "the URL is not one"),
        ("https://platform.example/jobs/5001", "lacks secret="),
        (f"https://platform.example/jobs/5001?secret={SECRET}&secret={SECRET}", "has the parameter secret 2 times"),
        ("https://platform.example/jobs/5001?secret=", "is empty or cannot be sent"),
        (f"https://platform.example/jobs/5001?secret={SECRET}%0d%0aX:1", "is empty or cannot be sent"),
    ],
)
def test_an_address_that_is_no_jobs_is_refused_and_never_quoted(url: str, says: str) -> None:
    with pytest.raises(JobUrlError) as refused:
        Job.parse(url, RULES)
    message = str(refused.value).replace("The job's URL", "").replace("The job's id in", "")
    assert says in message.replace("The job's secret in", "")
    assert "It has to look like https://HOST/jobs/{job_id}?secret={secret}, see platform_api.job_url" in message
    assert SECRET not in message
    assert "5001" not in message


def test_the_data_maps_table_says_what_is_the_default_anyway() -> None:
    assert DataMap.parse(SOURCE, "erasure.toml").platform_api == RULES
    without = {name: table for name, table in SOURCE.items() if name != "platform_api"}
    assert DataMap.parse(without, "erasure.toml").platform_api == RULES


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("rate", 0, "platform_api.rate: "),
        ("timeoutt", 1, "platform_api.timeoutt: "),
        ("job_url", "/jobs/{job}?secret={secret}", "platform_api: Value error, job_url: needs {job_id} once"),
        ("job_url", "/jobs/{job_id}", "fetch uses {secret}, and job_url does not say where it stands"),
        ("job_url", "/jobs/{job_id}?s=x{secret}", "a placeholder is the whole of a parameter's value"),
        ("health", "health", "platform_api.health: Value error, must begin with /"),
        ("fetch.method", "DELETE", "platform_api.fetch.method: "),
        ("fetch.path", "/a?b={contributor_id}", "parameters belong into `query`"),
        ("fetch.body", {"id": "{email}"}, "platform_api.fetch: Value error, {email} is no placeholder here"),
        ("fetch.body", {"job": "{job_id}"}, "platform_api.fetch: Value error, says nowhere {contributor_id}"),
        ("commit.path", "/commit", "platform_api.commit: Value error, says nowhere {work_id}"),
        ("answers.system_error", [], "platform_api.answers.system_error: "),
        ("answers.system_error", ["OK"], "'OK' stands in `work` and in `system_error`: it can mean one thing"),
        ("answers.known", [42], "platform_api.answers.known[0]"),
    ],
)
def test_a_table_that_is_wrong_is_refused_with_its_key(path: str, value: Any, says: str) -> None:
    source = copy.deepcopy(SOURCE)
    table = source["platform_api"]
    *tables, key = path.split(".")
    for name in tables:
        table = table[name]
    table[key] = value
    with pytest.raises(DataMapError) as refused:
        DataMap.parse(source, "erasure.toml")
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ERASURE_API__BASE_URL", "platform.example"),
        ("ERASURE_API__BASE_URL", f"https://ann:{SECRET}@platform.example"),
        ("ERASURE_API__BASE_URL", f"https://platform.example?token={SECRET}"),
        ("ERASURE_API__TOKEN", f"{SECRET}\nX: 1"),
    ],
)
def test_a_setting_that_is_wrong_is_named_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load(PlatformApiSettings)
    assert str(refused.value).startswith(f"{name}: must ")
    assert SECRET not in str(refused.value)
