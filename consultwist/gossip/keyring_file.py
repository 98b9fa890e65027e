"""The file that keeps gossip keys: a JSON list of base64 keys, the primary first."""

import base64
import binascii
import json
import os
from pathlib import Path

from consultwist.errors import ConfigError, StorageError
from consultwist.gossip.memberlist.keyring import KEY_SIZES


def decode_key(text: str) -> bytes:
    """Return a key given as base64.

    Raises:
        ConfigError: where it is no key.
    """
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigError("invalid encryption key: not base64") from error
    if len(key) not in KEY_SIZES:
        raise ConfigError("key size must be 16, 24 or 32 bytes")
    return key


def load_keys(path: str, configured: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return the keys in a file; where there is none yet, write the configured ones.

    A file that exists wins over the configuration, since keys change at run time.

    Raises:
        StorageError: where the file cannot be read or written.
    """
    file = Path(path)
    if not file.exists():
        if configured:
            _write(file, json.dumps(_texts(configured), separators=(",", ":")))
        return configured
    try:
        texts = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(texts, list) or not texts:
            raise StorageError(f"gossip keyring {path}: no keys in it")
        return tuple(decode_key(str(text)) for text in texts)
    except (OSError, ValueError, ConfigError) as error:
        raise StorageError(f"gossip keyring {path}: cannot be read") from error


def save_keys(path: str, keys: list[bytes]) -> None:
    """Replace the file after a change of keys.

    Raises:
        StorageError: where it cannot be written.
    """
    _write(Path(path), json.dumps(_texts(keys), indent=2))


def _texts(keys: list[bytes] | tuple[bytes, ...]) -> list[str]:
    return [base64.b64encode(key).decode() for key in keys]


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(file.name + ".tmp")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(file)
    except OSError as error:
        raise StorageError(f"gossip keyring {file}: {error}") from error
