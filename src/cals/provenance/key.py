"""Keys that sign manifests: one made for the user at first use, or the user's own certificate."""

import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock

from cals.errors import ConfigError
from cals.files import describe_os_error, replace_atomically

_log = logging.getLogger(__name__)

_FILE = "signing-key.pem"
_SIGNER, _ROOT = "cals, a key made on this computer", "cals, the root of a key made on this computer"
_YEARS = 30
"""Without a time stamp a signature is valid no longer than its certificate."""
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    """A private key and its certificates, as the C2PA library takes them."""

    algorithm: str
    """es256, es384, es512, ps256 or ed25519."""
    key: str
    """Private key, PEM."""
    chain: str
    """Certificates, PEM, the signer's first."""


def get_config_dir() -> Path:
    """Return `CALS_CONFIG` when set, else the user's folder of settings."""
    override = os.environ.get("CALS_CONFIG")
    return Path(override) if override else platformdirs.user_config_path("cals", appauthor=False)


def load_user_key() -> SigningKey:
    """Load the key of this user on this computer, made at first use, whichever of several processes comes first.

    Where it cannot be kept, a key of this call alone is made, and an info line says so.
    """
    path = get_config_dir() / _FILE
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{path}.lock"):
                if not path.exists():
                    with replace_atomically(path) as partial:
                        partial.chmod(0o600)  # before anything is in it
                        partial.write_text(create_key_file(), encoding="ascii")
        text = path.read_text(encoding="ascii")
    except OSError as error:
        _log.info("%s: the signing key cannot be kept there (%s); this run has one of its own", path, error)
        text = create_key_file()
    except UnicodeDecodeError:
        text = ""
    key, mark, chain = text.partition("-----BEGIN CERTIFICATE-----")
    if not mark:
        raise ConfigError(f"{path}: expected a key and certificates, found other data; remove it to make a new key")
    return SigningKey(algorithm="es256", key=key, chain=mark + chain)


def read_user_root() -> str:
    """Return the root certificate of this user's key, PEM; empty where no key was made yet."""
    try:
        text = (get_config_dir() / _FILE).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
    return "".join(text.rpartition("-----BEGIN CERTIFICATE-----")[1:])


def read_user_serial() -> str:
    """Return the serial number of the certificate of this user's key; empty where no key was made yet."""
    from cryptography import x509

    try:
        return str(x509.load_pem_x509_certificate((get_config_dir() / _FILE).read_bytes()).serial_number)
    except (OSError, ValueError):
        return ""


def load_key(certificate: Path, key: Path) -> SigningKey:
    """Load a certificate chain and its private key; ConfigError where they cannot be used together."""
    from cryptography import x509

    chain, private = _read(certificate, "sign_cert"), _read(key, "sign_key")
    try:
        first = x509.load_pem_x509_certificates(chain)[0]
    except (ValueError, IndexError) as error:
        raise ConfigError(f"sign_cert: expected certificates as PEM in {certificate}, found none that reads") from error
    algorithm, public = _parse_private_key(key, private)
    if public != first.public_key():
        raise ConfigError(
            f"sign_key: expected the private key of the first certificate in {certificate}, found another in {key}; "
            "the signer's own certificate comes first"
        )
    return SigningKey(algorithm=algorithm, key=private.decode("ascii"), chain=chain.decode("ascii", "replace"))


def _read(path: Path, option: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{option}: expected a PEM file, found {path}: {describe_os_error(error)}") from error


def _parse_private_key(path: Path, data: bytes) -> tuple[str, Any]:
    """Return the algorithm of a private key, as C2PA names it, and its public key."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError) as error:  # TypeError: it is encrypted
        raise ConfigError(f"sign_key: expected an unencrypted private key as PEM in {path}, found none") from error
    algorithm = None
    if isinstance(key, ec.EllipticCurvePrivateKey):
        algorithm = _CURVES.get(key.curve.name)
    elif isinstance(key, rsa.RSAPrivateKey):
        algorithm = "ps256"
    elif isinstance(key, ed25519.Ed25519PrivateKey):
        algorithm = "ed25519"
    if algorithm is None:
        raise ConfigError(
            f"sign_key: expected a key for ES256, ES384, ES512, PS256 or Ed25519, found another in {path}"
        )
    return algorithm, key.public_key()


def create_key_file() -> str:
    """Create a private key and its two certificates, PEM; nothing in them tells the user, the computer or the hour.

    C2PA takes no certificate that signs itself, so a root signs the signer's; the root's private key is not kept.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    root, signer = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    certificates = _build_certificate(signer, root, is_root=False) + _build_certificate(root, root, is_root=True)
    return (signer.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificates).decode("ascii")


def _build_certificate(key: Any, issuer: Any, *, is_root: bool) -> bytes:
    """Build a certificate with the fields that C2PA's profile asks for."""
    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def build_name(text: str) -> x509.Name:
        return x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, text), x509.NameAttribute(NameOID.COMMON_NAME, text)]
        )

    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    builder = (
        x509.CertificateBuilder()
        .subject_name(build_name(_ROOT if is_root else _SIGNER))
        .issuer_name(build_name(_ROOT))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(day - timedelta(days=1))  # clocks differ
        .not_valid_after(day + timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_root,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=is_root,
                crl_sign=is_root,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    if not is_root:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(issuer, SHA256()).public_bytes(Encoding.PEM)
