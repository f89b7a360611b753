"""An Ed25519 signature of the sums, by the package `cryptography` (`pip install 'ptaudit[sign]'`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ptaudit.errors import PtauditError

SIGNATURE = "SHA256SUMS.sig"
_MOST_BYTES = 10_000
"""Keys are a few hundred bytes."""


def sign(content: bytes, key: Path) -> bytes:
    """The signature of 64 bytes.

    Args:
        content: what is signed.
        key: file of an Ed25519 private key, as PEM (`openssl genpkey -algorithm ed25519`) without a password.

    Raises:
        PtauditError: the package is not there, or the file holds no such key.
    """
    serialization, ed25519 = _library()
    try:
        loaded = serialization.load_pem_private_key(_read(key), password=None)
    except (ValueError, TypeError) as error:
        raise _no_key(key, "private") from error
    if not isinstance(loaded, ed25519.Ed25519PrivateKey):
        raise _no_key(key, "private")
    return bytes(loaded.sign(content))


def is_signed(content: bytes, signature: bytes, key: Path) -> bool:
    """Whether a signature is that of the holder of a key.

    Args:
        content: what was signed.
        signature: 64 bytes.
        key: file of the Ed25519 public key, as PEM (`openssl pkey -in KEY -pubout`).

    Raises:
        PtauditError: the package is not there, or the file holds no such key.
    """
    serialization, ed25519 = _library()
    from cryptography.exceptions import InvalidSignature

    try:
        loaded = serialization.load_pem_public_key(_read(key))
    except (ValueError, TypeError) as error:
        raise _no_key(key, "public") from error
    if not isinstance(loaded, ed25519.Ed25519PublicKey):
        raise _no_key(key, "public")
    try:
        loaded.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def _library() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        remedy = "pip install 'ptaudit[sign]'"
        raise PtauditError("signatures need the package cryptography", where="--sign, --key", remedy=remedy) from error
    return serialization, ed25519


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except OSError as error:
        raise PtauditError(f"cannot be read: {error.strerror}", where=str(path)) from error


def _no_key(path: Path, kind: str) -> PtauditError:
    how = "openssl genpkey -algorithm ed25519" if kind == "private" else "openssl pkey -in KEY -pubout"
    return PtauditError(f"not an Ed25519 {kind} key without a password, as PEM", where=str(path), remedy=how)
