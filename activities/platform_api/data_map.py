"""The data map's table ``[platform_api]``: how the platform gives work and takes it, and what its answers mean.

The defaults are those of the demo's platform.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import parse_qsl

from pydantic import AfterValidator, Field, model_validator

from activities.rules import StrictModel

_PLACEHOLDER = re.compile(r"\{(\w*)\}")

Entry = str | Annotated[int, Field(ge=100, le=599)]
"""A code that stands in an answer, or the HTTP status of one that holds no code."""


def fill(template: Any, values: Mapping[str, str]) -> Any:
    """A template with its placeholders replaced, in every text of it.

    Args:
        template: A text, or JSON values with texts in them.
        values: By the placeholders' names.
    """
    match template:
        case str():
            return _PLACEHOLDER.sub(lambda found: values[found[1]], template)
        case dict():
            return {key: fill(value, values) for key, value in template.items()}
        case list():
            return [fill(value, values) for value in template]
    return template


def placeholders(template: Any) -> Iterator[str]:
    """The names of all placeholders of a template."""
    match template:
        case str():
            yield from _PLACEHOLDER.findall(template)
        case dict():
            for value in template.values():
                yield from placeholders(value)
        case list():
            for value in template:
                yield from placeholders(value)


def _is_a_path(path: str) -> str:
    if not re.fullmatch(r"/[^\s?#]*", path):
        raise ValueError("must begin with / and hold no blank, ? or #: parameters belong into `query`")
    return path


Path = Annotated[str, AfterValidator(_is_a_path)]


class Call(StrictModel):
    """One kind of request; its texts may hold placeholders.

    Args:
        method: The HTTP method.
        path: Below ``ERASURE_API__BASE_URL``.
        query: Parameters of the address.
        headers: Headers.
        body: JSON; none where it is empty.
    """

    may_hold: ClassVar[Collection[str]] = ()
    must_hold: ClassVar[Collection[str]] = ()

    method: Literal["GET", "POST", "PUT", "PATCH"] = "POST"
    path: Path
    query: dict[str, str] = Field(default_factory=dict)
    headers: dict[str, str] = Field(default_factory=dict)
    body: dict[str, Any] = Field(default_factory=dict)

    @property
    def names(self) -> set[str]:
        """The placeholders that it uses."""
        return set(placeholders([self.path, self.query, self.headers, self.body]))

    @model_validator(mode="after")
    def _placeholders_are_known(self) -> Self:
        if strangers := sorted(self.names - set(self.may_hold)):
            known = ", ".join(f"{{{name}}}" for name in self.may_hold)
            raise ValueError(f"{{{strangers[0]}}} is no placeholder here: use {known}")
        if missing := sorted(set(self.must_hold) - self.names):
            raise ValueError(f"says nowhere {{{missing[0]}}}: put it into path, query, headers or body")
        if self.method == "GET" and self.body:
            raise ValueError("a GET has no body: use `query`")
        return self


class FetchCall(Call):
    """How a contributor's work is fetched.

    Args:
        repeatable: Whether a fetch may be sent again where no answer came: it gives the same work again.
    """

    may_hold = ("job_id", "secret", "contributor_id")
    must_hold = ("contributor_id",)

    path: Path = "/api/v1/jobs/{job_id}/fetch"
    headers: dict[str, str] = Field(default_factory=lambda: {"X-Job-Secret": "{secret}"})
    body: dict[str, Any] = Field(default_factory=lambda: {"contributor_id": "{contributor_id}"})
    repeatable: bool = True


class CommitCall(Call):
    """How work is handed in. Sent again only where it holds ``{idempotency_key}``."""

    may_hold = ("job_id", "secret", "contributor_id", "work_id", "idempotency_key")
    must_hold = ("work_id",)

    path: Path = "/api/v1/jobs/{job_id}/units/{work_id}/commit"
    headers: dict[str, str] = Field(
        default_factory=lambda: {"X-Job-Secret": "{secret}", "Idempotency-Key": "{idempotency_key}"}
    )
    body: dict[str, Any] = Field(default_factory=lambda: {"contributor_id": "{contributor_id}", "answer": {}})

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent again where no answer came."""
        return "idempotency_key" in self.names


class Answers(StrictModel):
    """What answers mean. What stands in no list means nothing: it proves neither.

    Args:
        code: The field with the answer's code; dots lead into objects.
        work_id: The field of a fetch's answer that names the work.
        work: A fetch that gave work.
        taken: A commit that was taken.
        system_error: The platform does not know the contributor.
        known: The platform knows the contributor, and gives or takes nothing.
        stop: Asking on makes no sense: the job or the credentials are wrong.
    """

    code: str = "status"
    work_id: str = "work.id"
    work: tuple[Entry, ...] = ("OK",)
    taken: tuple[Entry, ...] = ("OK",)
    system_error: Annotated[tuple[Entry, ...], Field(min_length=1)] = ("SYSTEM_ERROR",)
    known: tuple[Entry, ...] = ("NOT_IN_JOB", "NOT_OPEN", "REJECTED")
    stop: tuple[Entry, ...] = ("UNAUTHORIZED", "BAD_SECRET", "JOB_NOT_FOUND", 401)

    @model_validator(mode="after")
    def _mean_one_thing(self) -> Self:
        for lists in (("work", "system_error", "known", "stop"), ("taken", "system_error", "known", "stop")):
            seen: dict[str | int, str] = {}
            for name in lists:
                for entry in getattr(self, name):
                    if seen.setdefault(entry, name) != name:
                        raise ValueError(f"{entry!r} stands in `{seen[entry]}` and in `{name}`: it can mean one thing")
        return self


class PlatformApiMap(StrictModel):
    """How the platform's API is asked.

    Args:
        job_url: What a job's address looks like after the host: ``{job_id}``, and maybe ``{secret}``.
        health: A path that answers 200 where the API is up.
        fetch: How work is fetched.
        commit: How work is handed in.
        answers: What answers mean.
        timeout: Seconds that one answer may take.
        attempts: Tries of one request, where it may be sent again.
        concurrency: Requests at once.
        rate: Requests a second at most.
        page_size: Contributors whose answers are kept together: a test that was cut goes on behind the last page.
    """

    job_url: str = "/jobs/{job_id}?secret={secret}"
    health: Path = "/health"
    fetch: FetchCall = Field(default_factory=FetchCall)
    commit: CommitCall = Field(default_factory=CommitCall)
    answers: Answers = Field(default_factory=Answers)
    timeout: Annotated[int, Field(ge=1, le=300)] = 10
    attempts: Annotated[int, Field(ge=1, le=10)] = 3
    concurrency: Annotated[int, Field(ge=1, le=64)] = 8
    rate: Annotated[int, Field(ge=1, le=10_000)] = 50
    page_size: Annotated[int, Field(ge=1, le=1_000)] = 200

    @model_validator(mode="after")
    def _has_what_it_uses(self) -> Self:
        held = list(placeholders(self.job_url))
        if held.count("job_id") != 1 or set(held) - {"job_id", "secret"} or held.count("secret") > 1:
            raise ValueError("job_url: needs {job_id} once, may have {secret} once, and no other placeholder")
        if not re.fullmatch(r"/[^\s#]*", self.job_url):
            raise ValueError("job_url: must begin with / and hold no blank or #")
        parameters = parse_qsl(self.job_url.partition("?")[2], keep_blank_values=True)
        if part := next((name for name, value in parameters if re.search(r"\w\{|\}\w", value)), None):
            raise ValueError(f"job_url: a placeholder is the whole of a parameter's value, also of {part}")
        if "secret" not in held and (name := next((n for n in ("fetch", "commit") if "secret" in self._uses(n)), None)):
            raise ValueError(f"{name} uses {{secret}}, and job_url does not say where it stands")
        return self

    def _uses(self, name: str) -> set[str]:
        call: Call = getattr(self, name)
        return call.names
