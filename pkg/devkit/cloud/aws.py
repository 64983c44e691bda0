"""AWS' APIs, by boto3, which is imported at the first question."""

import os
from typing import Any, Protocol

from pkg.devkit.errors import BidkitError, MissingServer

_CONNECTS_WITHIN_S = 5
_ANSWERS_WITHIN_S = 60
_ATTEMPTS = 4

NO_BOTO3 = (
    "the AWS library boto3 is not installed here: "
    ".venv/bin/python -m pip install --require-hashes -r requirements/cloud.txt"
)


class AwsRefused(BidkitError):  # noqa: N818 - see errors.py
    """AWS answered with an error, or not at all. What was asked for was not done."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code
        """AWS' own, such as ClusterNotFoundException; empty if there was no answer."""


class Aws(Protocol):
    def ask(self, service: str, operation: str, /, **arguments: object) -> dict[str, Any]:
        """One call of boto3's client of that service. Raises AwsRefused."""


class Boto:
    """An `endpoint` is an emulator's, and then nothing is read from the caller's configuration."""

    def __init__(
        self, region: str, endpoint: str | None = None, keys: tuple[str, str] | None = None
    ) -> None:
        self._region = region
        self._endpoint = endpoint
        self._keys = keys
        self._session: Any = None
        self._clients: dict[str, Any] = {}

    def ask(self, service: str, operation: str, /, **arguments: object) -> dict[str, Any]:
        client = self._client(service)
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer: dict[str, Any] = getattr(client, operation)(**arguments)
        except ClientError as error:
            about = error.response.get("Error", {})
            said = about.get("Message") or str(error)
            code = str(about.get("Code", ""))
            raise AwsRefused(f"AWS refused {operation}: {said} ({code}).", code) from error
        except BotoCoreError as error:
            raise AwsRefused(f"no answer from AWS to {operation}: {error}") from error
        return answer

    def _client(self, service: str) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
        if service not in self._clients:
            require_boto3()
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError

            settings = Config(
                connect_timeout=_CONNECTS_WITHIN_S,
                read_timeout=_ANSWERS_WITHIN_S,
                retries={
                    "mode": "standard",
                    "total_max_attempts": 1 if self._endpoint else _ATTEMPTS,
                },
                ignore_configured_endpoint_urls=True,
                # Not even a proxy stands between us and an emulator on this machine.
                **({"proxies": {}} if self._endpoint else {}),
            )
            key, secret = self._keys or (None, None)
            try:
                self._session = self._session or _session(isolated=bool(self._endpoint))
                self._clients[service] = self._session.client(
                    service,
                    region_name=self._region,
                    endpoint_url=self._endpoint,
                    aws_access_key_id=key,
                    aws_secret_access_key=secret,
                    config=settings,
                )
            except BotoCoreError as error:
                raise AwsRefused(f"your AWS configuration cannot be used: {error}.") from error
        return self._clients[service]


def require_boto3() -> None:
    """Raises MissingServer."""
    try:
        import boto3  # noqa: F401
    except ImportError:
        raise MissingServer(NO_BOTO3) from None


def _session(*, isolated: bool) -> Any:  # noqa: ANN401
    import boto3
    import botocore.session

    if not isolated:
        return boto3.Session()
    nothing = (None, None, os.devnull, None)
    variables = {
        "profile": (None, None, None, None),
        "config_file": nothing,
        "credentials_file": nothing,
    }
    return boto3.Session(botocore_session=botocore.session.Session(session_vars=variables))
