"""Gossip keys, primary first, and the AES-GCM envelope of packets and streams.

An envelope is ``version | 12-byte nonce | ciphertext | 16-byte tag``. Version 1 holds
the plain bytes; version 0, of members that speak memberlist protocol 1, pads them as
PKCS#7. Only version 1 is ever written.
"""

import os
from collections.abc import Callable, Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from consultwist.errors import BadRequest, WireError

#: AES-128, AES-192 and AES-256.
KEY_SIZES = (16, 24, 32)

#: Every undecryptable packet is tried with every key; a rotation needs two.
KEYS_MAX = 64

NONCE_SIZE = 12
TAG_SIZE = 16
_BLOCK = 16

#: What version 1 adds to a message: version byte, nonce, tag.
OVERHEAD = 1 + NONCE_SIZE + TAG_SIZE


class Keyring:
    """The keys of a pool: one encrypts, all decrypt.

    Args:
        keys: the keys, primary first.
        nonce: a source of random bytes; nonces must never repeat under one key.
    """

    def __init__(
        self, keys: Iterable[bytes] = (), nonce: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._nonce = nonce
        self._ciphers: dict[bytes, AESGCM] = {}
        for key in keys:
            self.add(key)

    def __bool__(self) -> bool:
        return bool(self._ciphers)

    @property
    def keys(self) -> list[bytes]:
        """Every key, primary first."""
        return list(self._ciphers)

    @property
    def primary(self) -> bytes:
        """The key that encrypts."""
        return next(iter(self._ciphers))

    def add(self, key: bytes) -> None:
        """Install a key at the end; one that is known already stays where it is.

        Raises:
            BadRequest: where the key has a wrong size or there are too many.
        """
        if len(key) not in KEY_SIZES:
            raise BadRequest("key size must be 16, 24 or 32 bytes")
        if len(self._ciphers) >= KEYS_MAX:
            raise BadRequest(f"the keyring holds no more than {KEYS_MAX} keys")
        self._ciphers.setdefault(key, AESGCM(key))

    def use(self, key: bytes) -> None:
        """Make an installed key the primary.

        Raises:
            BadRequest: where the key is not installed.
        """
        if key not in self._ciphers:
            raise BadRequest("Requested key is not in the keyring")
        self._ciphers = {key: self._ciphers.pop(key), **self._ciphers}

    def remove(self, key: bytes) -> None:
        """Forget a key; one that is not installed is no error.

        Raises:
            BadRequest: where it is the primary.
        """
        if self._ciphers and key == self.primary:
            raise BadRequest("Removing the primary key is not allowed")
        self._ciphers.pop(key, None)

    def encrypt(self, plain: bytes, aad: bytes) -> bytes:
        """Return the envelope of `plain` under the primary key."""
        nonce = self._nonce(NONCE_SIZE)
        sealed = next(iter(self._ciphers.values())).encrypt(nonce, plain, aad)
        return b"\x01" + nonce + sealed

    def decrypt(self, envelope: bytes, aad: bytes) -> bytes:
        """Return what an envelope holds, by whichever key fits.

        Raises:
            WireError: where it is no envelope or no key fits.
        """
        if len(envelope) < OVERHEAD:
            raise WireError("gossip: too short to decrypt")
        version = envelope[0]
        if version > 1:
            raise WireError("gossip: unknown encryption version")
        nonce, sealed = envelope[1 : 1 + NONCE_SIZE], envelope[1 + NONCE_SIZE :]
        for cipher in self._ciphers.values():
            try:
                plain = cipher.decrypt(nonce, sealed, aad)
            except InvalidTag:
                continue
            return plain if version == 1 else _unpad(plain)
        raise WireError("gossip: no installed key could decrypt the message")


def _unpad(padded: bytes) -> bytes:
    count = padded[-1] if padded else 0
    if not 1 <= count <= min(_BLOCK, len(padded)):
        raise WireError("gossip: wrong padding")
    return padded[:-count]
