"""Elasticsearch's connection: settings, the client, and what its errors mean."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, Self

from elastic_transport import ConnectionError as UnreachableError
from elastic_transport import ConnectionTimeout, SerializationError
from elasticsearch import ApiError, AsyncElasticsearch, JsonSerializer, UnsupportedProductError
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from activities.errors import CriticalError, ErasureError, TransientError
from activities.reachability import unreachable

PLACE = "elasticsearch"

CONNECTIONS = 16

PRODUCT = "x-elastic-product"
"""A header of every answer of Elasticsearch's own."""

_OF_ANY_SERVER = (401, 403, 408, 429)
"""Statuses by which a proxy before Elasticsearch may answer as well."""


class ElasticsearchSettings(BaseSettings):
    """Where Elasticsearch is.

    Args:
        url: Address of the cluster; several nodes separated by commas.
        api_key: An API key, or
        username: a user, with
        password: its password.
        ca_certs: File with the certificate authority of the cluster.
        verify_certs: Whether the cluster's certificate is checked.
        timeout: Seconds that a request may take; a search over a large index takes its time.
    """

    model_config = SettingsConfigDict(env_prefix="ERASURE_ELASTICSEARCH__", extra="ignore")

    url: str = "http://127.0.0.1:9200"
    api_key: SecretStr | None = None
    username: str | None = None
    password: SecretStr | None = None
    ca_certs: str | None = None
    verify_certs: bool = True
    timeout: float = Field(default=120, gt=0)

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        if not all(re.fullmatch(r"https?://[^\s/@]+(/\S*)?", node.strip()) for node in url.split(",")):
            raise ValueError("must look like https://host:9200; user and password have settings of their own")
        return url

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password belong together")
        if self.api_key is not None and self.username is not None:
            raise ValueError("set either api_key or username and password")
        return self

    @property
    def nodes(self) -> list[str]:
        """The addresses of the nodes."""
        return [node.strip() for node in self.url.split(",")]


class ExactJson(JsonSerializer):
    """Reads fractions as `Decimal`: a document's other numbers must come back digit by digit."""

    def loads(self, data: bytes) -> Any:
        """Reads a response."""
        try:
            return json.loads(data, parse_float=Decimal)
        except (ValueError, RecursionError):
            raise SerializationError("not JSON") from None


@asynccontextmanager
async def connect(settings: ElasticsearchSettings) -> AsyncIterator[AsyncElasticsearch]:
    """Opens the client; makes no request.

    Args:
        settings: Where the cluster is.

    Yields:
        The client: at most `CONNECTIONS` a node.
    """
    tls: dict[str, Any] = {}
    if any(node.startswith("https://") for node in settings.nodes):
        tls = {"verify_certs": settings.verify_certs, "ssl_show_warn": False}
        if settings.ca_certs is not None:
            tls["ca_certs"] = settings.ca_certs
    password = settings.password
    client = AsyncElasticsearch(
        settings.nodes,
        api_key=settings.api_key.get_secret_value() if settings.api_key else None,
        basic_auth=(settings.username, password.get_secret_value()) if settings.username and password else None,
        connections_per_node=CONNECTIONS,
        request_timeout=settings.timeout,
        retry_on_timeout=False,
        serializers={
            "application/json": ExactJson(),
            "application/vnd.elasticsearch+json": ExactJson(),
        },
        **tls,
    )
    async with client:
        yield client


def translate(error: Exception) -> ErasureError | None:
    """Maps the client's errors to the taxonomy; names the index and Elasticsearch's error type, never its reason."""
    if isinstance(error, ApiError):
        return _answered(error)
    if isinstance(error, ConnectionTimeout):
        return TransientError(
            PLACE,
            "no answer in time",
            "Wait; it is tried again. Look at the cluster's load, or raise ERASURE_ELASTICSEARCH__TIMEOUT.",
        )
    if isinstance(error, UnreachableError):
        authority = "Set ERASURE_ELASTICSEARCH__CA_CERTS to the file of its certificate authority."
        return unreachable(PLACE, error, "ERASURE_ELASTICSEARCH__URL", authority=authority)
    if isinstance(error, UnsupportedProductError | SerializationError):
        return _another()
    return None


def _answered(error: ApiError) -> ErasureError:
    status = error.status_code
    kind, index = _cause(error.body)
    place = index or PLACE
    if kind == "media_type_header_exception":
        return CriticalError(PLACE, "is too old: it does not know the API of version 9", "Upgrade it to 9 or newer.")
    if status < 500 and status not in _OF_ANY_SERVER and kind == "?" and not error.meta.headers.get(PRODUCT):
        return _another()
    if status == 401:
        return CriticalError(
            PLACE,
            "the credentials are not accepted",
            "Check ERASURE_ELASTICSEARCH__API_KEY, or __USERNAME and __PASSWORD.",
        )
    if kind in ("index_not_found_exception", "search_context_missing_exception"):
        return TransientError(
            place, f"went away while it was worked on ({kind})", "Wait; the indices are looked up anew and tried again."
        )
    if kind in ("cluster_block_exception", "index_closed_exception"):
        return blocked(place, kind)
    if status == 403:
        return CriticalError(
            place,
            f"the right is missing ({kind})",
            "Give the user of the erasure the privileges monitor, view_index_metadata, read, index and maintenance.",
        )
    if status in (408, 429) or status >= 500:
        return TransientError(
            place, f"answered {status} {kind}", "Wait; it is tried again. Look at the cluster's load."
        )
    return CriticalError(place, f"answered {status} {kind}", "Look into the cluster's log at this time.")


def _another() -> CriticalError:
    what = "what answers is not Elasticsearch"
    return CriticalError(PLACE, what, "Check ERASURE_ELASTICSEARCH__URL; look for OpenSearch, or a proxy between.")


def blocked(index: str, kind: str) -> CriticalError:
    """The error for an index that must not be touched now."""
    return CriticalError(
        index, f"is closed or blocked ({kind})", "Open it, or lift its block (index.blocks.*), then signal retry."
    )


def _cause(body: Any) -> tuple[str, str | None]:
    """Error type and index out of an error's body: these two hold no value of a document."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return "?", None
    causes = error.get("root_cause") or [error]
    cause = causes[0] if isinstance(causes[0], dict) else error
    return error_type(cause), cause.get("index")


def error_type(error: Any) -> str:
    """Elasticsearch's name of an error, such as ``mapper_parsing_exception``."""
    kind = str(error.get("type", "")) if isinstance(error, dict) else ""
    return kind if re.fullmatch(r"[a-z0-9_]+", kind) else "?"
