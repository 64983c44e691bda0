"""TLS to stores whose certificates a private authority signed."""

import re
import ssl

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)


def trusting(ca: str, *, check_hostname: bool = True) -> ssl.SSLContext:
    """Trusts the authorities in ``ca`` (PEM) and no others, not even the system's.

    Raises ssl.SSLError or ValueError if it holds none.
    """
    context = ssl.create_default_context(cadata=ca)
    context.check_hostname = check_hostname
    return context


def certificates(text: str) -> str:
    """The PEM certificates in the text, without comments: Python reads no others than ASCII's.

    Raises ValueError, which does not quote the text: it may be a private key.
    """
    found = "".join(each.rstrip("\n") + "\n" for each in _CERTIFICATE.findall(text))
    if not found:
        raise ValueError("holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
    try:
        trusting(found)
    except (ssl.SSLError, ValueError):
        raise ValueError(
            "holds a certificate that cannot be read; is its PEM text whole?"
        ) from None
    return found
