"""Settings from the environment: what is missing or wrong is named, and never shown."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from activities.settings import S3Settings, SettingsError, TemporalSettings, VaultSettings, load

KEY = base64.b64encode(b"k" * 32).decode()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BUCKET", "KEY", "KEY_FILE", "KMS_KEY_ID", "ENDPOINT_URL", "ACCESS_KEY"):
        monkeypatch.delenv(f"ERASURE_VAULT__{name}", raising=False)


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(SettingsError, match=r"ERASURE_VAULT__BUCKET: is not set"):
        load(VaultSettings)


@pytest.mark.parametrize("key", ["short", base64.b64encode(b"k" * 31).decode(), "ä" * 44])
def test_a_wrong_key_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("ERASURE_VAULT__BUCKET", "vault")
    monkeypatch.setenv("ERASURE_VAULT__KEY", key)
    with pytest.raises(SettingsError) as caught:
        load(VaultSettings)
    assert "ERASURE_VAULT__KEY" in str(caught.value)
    assert "32 random bytes" in str(caught.value)
    assert key not in str(caught.value)


def test_a_vault_needs_exactly_one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERASURE_VAULT__BUCKET", "vault")
    with pytest.raises(SettingsError, match=r"ERASURE_VAULT__KEY is not set: the vault needs one of KEY, KEY_FILE"):
        load(VaultSettings)
    monkeypatch.setenv("ERASURE_VAULT__KMS_KEY_ID", "alias/erasure")
    assert load(VaultSettings).kms_key_id == "alias/erasure"
    monkeypatch.setenv("ERASURE_VAULT__KEY", KEY)
    with pytest.raises(SettingsError, match="ERASURE_VAULT__KEY and ERASURE_VAULT__KMS_KEY_ID are both set"):
        load(VaultSettings)


@pytest.mark.parametrize("content", [b"k" * 32, KEY.encode(), KEY.encode() + b"\n"])
def test_a_key_file_holds_a_key_as_it_is_or_in_base64(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "key"
    monkeypatch.setenv("ERASURE_VAULT__BUCKET", "vault")
    monkeypatch.setenv("ERASURE_VAULT__KEY_FILE", str(file))
    with pytest.raises(SettingsError, match="ERASURE_VAULT__KEY_FILE: cannot be read: No such file"):
        load(VaultSettings)
    file.write_bytes(content)
    assert load(VaultSettings).master_key == b"k" * 32
    file.write_bytes(content[:-9])
    with pytest.raises(SettingsError, match="ERASURE_VAULT__KEY_FILE: must be 32 random bytes"):
        load(VaultSettings)


def test_secrets_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERASURE_VAULT__BUCKET", "vault")
    monkeypatch.setenv("ERASURE_VAULT__KEY", KEY)
    settings = load(VaultSettings)
    assert settings.master_key == b"k" * 32
    assert KEY not in repr(settings)


def test_the_vault_is_where_the_files_are_unless_said_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    platform = S3Settings(endpoint_url="http://platform")
    monkeypatch.setenv("ERASURE_VAULT__BUCKET", "vault")
    monkeypatch.setenv("ERASURE_VAULT__KEY", KEY)
    assert load(VaultSettings).storage(platform) is platform
    monkeypatch.setenv("ERASURE_VAULT__ENDPOINT_URL", "http://vault")
    own = load(VaultSettings).storage(platform)
    assert (own.endpoint_url, own.access_key) == ("http://vault", None)


def test_temporal_has_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ADDRESS", "NAMESPACE", "TASK_QUEUE", "UI_URL"):
        monkeypatch.delenv(f"ERASURE_TEMPORAL__{name}", raising=False)
    assert load(TemporalSettings).address == "127.0.0.1:7233"
