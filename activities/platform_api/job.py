"""A job's address, as the platform gives it to people: it names the job, and holds its secret."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

from activities.platform_api.data_map import PlatformApiMap

_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SECRET = re.compile(r"[\x21-\x7e]{1,512}")


class JobUrlError(Exception):
    """The address is not that of a job. The message never quotes it: it may hold a secret."""


@dataclass(frozen=True)
class Job:
    """A job of the platform.

    Args:
        job_id: Its id.
        secret: What a caller proves by that it may fetch; empty where the platform has none. Never shown.
    """

    job_id: str
    secret: str = field(repr=False, default="")

    @classmethod
    def parse(cls, url: str, rules: PlatformApiMap) -> Self:
        """Reads an address.

        Args:
            url: The address.
            rules: Its ``job_url`` says what one looks like.

        Raises:
            JobUrlError: It is no such address; says what is wrong with it, and quotes nothing of it.
        """
        expected = f"It has to look like https://HOST{rules.job_url}, see platform_api.job_url"
        try:
            parts = urlsplit(url.strip())
            host = parts.hostname
            parts.port  # noqa: B018 - raises where it is no number
        except ValueError:
            raise JobUrlError(f"The job's URL is no address. {expected}") from None
        if parts.scheme not in ("http", "https") or not host:
            raise JobUrlError(f"The job's URL does not begin with https:// or http:// and a host. {expected}")
        if parts.username is not None or parts.password is not None:
            raise JobUrlError(f"The job's URL holds a user or a password: leave them out. {expected}")
        path, _, query = rules.job_url.partition("?")
        found = _pattern(path).fullmatch(parts.path.rstrip("/"))
        if found is None:
            raise JobUrlError(f"The job's URL has another path than {path}. {expected}")
        values = {name: unquote(value) for name, value in found.groupdict().items()}
        given = parse_qs(parts.query, keep_blank_values=True)
        for parameter, template in parse_qsl(query, keep_blank_values=True):
            several = given.get(parameter, [])
            if len(several) != 1:
                what = f"has the parameter {parameter} {len(several)} times" if several else f"lacks {parameter}="
                raise JobUrlError(f"The job's URL {what}. {expected}")
            if template.startswith("{"):
                values[template.strip("{}")] = several[0]
            elif several[0] != template:
                raise JobUrlError(f"The job's URL has another {parameter} than {template}. {expected}")
        if not _JOB_ID.fullmatch(values["job_id"]):
            raise JobUrlError(f"The job's id in the URL is not one: letters, digits, - and _ only. {expected}")
        if "secret" in values and not _SECRET.fullmatch(values["secret"]):
            raise JobUrlError(f"The job's secret in the URL is empty or cannot be sent: copy it again. {expected}")
        return cls(values["job_id"], values.get("secret", ""))


def _pattern(path: str) -> re.Pattern[str]:
    """What a path looks like: a placeholder stands for one piece between slashes."""
    pieces = re.split(r"(\{\w+\})", path.rstrip("/"))
    return re.compile("".join(f"(?P<{p[1:-1]}>[^/]+)" if p.startswith("{") else re.escape(p) for p in pieces))
