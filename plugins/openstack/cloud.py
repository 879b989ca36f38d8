"""One project of one cloud: requests that are authenticated, patient with an API that stumbles, and told apart."""

from __future__ import annotations

import asyncio
import email.utils
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import Executor
from typing import Any, Literal, Protocol

import structlog

from plugins.openstack.errors import ApiError, message_of, to_problem
from plugins.openstack.settings import Login

Service = Literal["compute", "network", "orchestration", "image", "placement", "volume"]
MICROVERSIONS: Mapping[Service, str] = {"compute": "2.79", "placement": "1.29"}
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.25, 5.0
_REQUEST_S = 60.0
Body = Mapping[str, Any]
Params = Mapping[str, str | int | list[str]]

log = structlog.get_logger("plugins.openstack")


class Reply(Protocol):
    """An HTTP answer."""

    @property
    def status(self) -> int:
        """The code."""
        ...

    @property
    def text(self) -> str:
        """The body."""
        ...

    @property
    def retry_after(self) -> str:
        """The header, or nothing."""
        ...


class Transport(Protocol):
    """Blocking, authenticated requests; raises ApiError with status 0 where nobody answers, 401 where nobody may."""

    project_id: str
    delegated: bool
    """Whether these are an application credential's: Keystone does not let them do all that their user may."""

    def send(self, service: Service, method: str, path: str, body: Body | None, params: Params, version: str) -> Reply:
        """One request and its answer, whatever it is."""
        ...

    def upload(self, path: str, chunks: Iterator[bytes]) -> Reply:
        """PUT of bytes to the image service."""
        ...


class Cloud:
    """Asynchronous at the rim, blocking in `pool`. Raises PluginError, but for those who ask for `raw` errors."""

    def __init__(self, transport: Transport, pool: Executor, patience_s: float) -> None:
        self.transport = transport
        self._pool = pool
        self._patience_s = patience_s

    @property
    def project_id(self) -> str:
        """Whose credentials these are."""
        return self.transport.project_id

    async def call(
        self,
        service: Service,
        method: str,
        path: str,
        body: Body | None = None,
        *,
        params: Params | None = None,
        version: str = "",
        patience_s: float | None = None,
    ) -> Any:
        """The answer's JSON ({} where it has none). Raises ApiError. An API that is away, or says that it is busy, is
        asked again until patience ends: whoever makes something gives it a name by which a second one is refused."""
        until_s = time.monotonic() + (self._patience_s if patience_s is None else patience_s)
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return await self._once(service, method, path, body, params or {}, version)
            except ApiError as error:
                wait_s = max(pause_s, error.retry_after_s)
                if not error.transient or time.monotonic() + wait_s > until_s:
                    raise
                log.warning("asked again", request=error.request, status=error.status, said=error.message[:200])
            await asyncio.sleep(wait_s)
            pause_s = min(_LAST_PAUSE_S, 2 * pause_s)

    async def get(
        self, service: Service, path: str, *, params: Params | None = None, version: str = "", instance: str = ""
    ) -> Any:
        """GET. Raises PluginError."""
        try:
            return await self.call(service, "GET", path, params=params, version=version)
        except ApiError as error:
            raise to_problem(error, instance=instance) from error

    async def get_or_none(self, service: Service, path: str, *, params: Params | None = None, version: str = "") -> Any:
        """GET; None where it is not there. Raises PluginError."""
        try:
            return await self.call(service, "GET", path, params=params, version=version)
        except ApiError as error:
            if error.status == 404:
                return None
            raise to_problem(error) from error

    async def each(self, service: Service, path: str, key: str, *, params: Params | None = None) -> AsyncIterator[Any]:
        """All of a list that may come in pages (by marker). Raises PluginError."""
        page: dict[str, str | int | list[str]] = {"limit": 500, **(params or {})}
        while True:
            found = (await self.get(service, path, params=page))[key]
            for one in found:
                yield one
            if len(found) < int(str(page["limit"])):
                return
            page["marker"] = found[-1]["id"]

    async def delete(self, service: Service, path: str) -> None:
        """DELETE; what is not there is deleted. Raises ApiError."""
        try:
            await self.call(service, "DELETE", path)
        except ApiError as error:
            if error.status != 404:
                raise

    async def run(self, work: Any, *arguments: Any) -> Any:
        """Blocking work in the pool."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    async def _once(
        self, service: Service, method: str, path: str, body: Body | None, params: Params, version: str
    ) -> Any:
        version = version or MICROVERSIONS.get(service, "")
        sent = asyncio.ensure_future(self.run(self.transport.send, service, method, path, body, params, version))
        try:
            reply = await asyncio.shield(sent)
        except asyncio.CancelledError:
            if method != "GET":  # what may make something is seen to its end: whoever looks for it next must find it
                await asyncio.wait({sent})
            raise
        return decoded(reply, f"{method} {service}{path}")


def decoded(reply: Reply, request: str) -> Any:
    """The answer's JSON. Raises ApiError where it says no."""
    if reply.status >= 400:
        raise ApiError(reply.status, message_of(reply.text), request, _seconds(reply.retry_after))
    try:
        return json.loads(reply.text) if reply.text else {}
    except ValueError:
        return {}  # some answers to PATCH and DELETE are pages for people


def _seconds(retry_after: str) -> float:
    """The header Retry-After: seconds, or a date."""
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        then = email.utils.parsedate_to_datetime(retry_after).timestamp() if retry_after else 0.0
    except ValueError:
        return 0.0
    return max(0.0, then - time.time())


class SdkTransport:
    """openstacksdk's connection: clouds.yaml, tokens and their renewal, the catalogue, microversions."""

    def __init__(self, login: Login) -> None:
        """Authenticates; blocking. Raises ApiError."""
        import openstack.config
        from keystoneauth1 import exceptions
        from openstack.connection import Connection

        self._exceptions = exceptions
        try:
            region = _region(openstack.config.OpenStackConfig, login)
            self._connection = Connection(config=region)
            self.delegated = region.config.get("auth_type") == "v3applicationcredential"
            self.project_id = str(self._connection.session.get_project_id() or "")
        except (exceptions.ConnectFailure, exceptions.DiscoveryFailure) as error:
            raise ApiError(0, str(error), "authenticate") from error
        except (exceptions.ClientException, openstack.exceptions.SDKException, OSError) as error:
            status = getattr(error, "http_status", None) or 400
            raise ApiError(int(status), str(error), "authenticate") from error
        self._adapters: Mapping[Service, Any] = {
            "compute": self._connection.compute,
            "network": self._connection.network,
            "orchestration": self._connection.orchestration,
            "image": self._connection.image,
            "placement": self._connection.placement,
            "volume": _bare_adapter(self._connection),
        }

    def send(self, service: Service, method: str, path: str, body: Body | None, params: Params, version: str) -> Reply:
        """Tokens that have expired are renewed by the session."""
        more: dict[str, Any] = {"microversion": version} if version else {}
        if body is not None:
            more["json"] = body
        if service == "image" and method == "PATCH":
            more["headers"] = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
        return self._request(service, method, path, params=dict(params), timeout=_REQUEST_S, **more)

    def upload(self, path: str, chunks: Iterator[bytes]) -> Reply:
        """Streams; the answer comes when the last chunk was taken."""
        headers = {"Content-Type": "application/octet-stream"}
        return self._request("image", "PUT", path, data=chunks, headers=headers, timeout=3600)

    def _request(self, service: Service, method: str, path: str, **more: Any) -> Reply:
        exceptions, request = self._exceptions, f"{method} {service}{path}"
        try:
            response = self._adapters[service].request(path, method, raise_exc=False, connect_retries=0, **more)
        except (exceptions.Unauthorized, exceptions.AuthorizationFailure) as error:
            raise ApiError(401, str(error), request) from error
        except (exceptions.EndpointNotFound, exceptions.MissingAuthPlugin) as error:
            raise ApiError(404, f"the cloud has no {service} service: {error}", request) from error
        except (exceptions.ConnectFailure, exceptions.DiscoveryFailure, exceptions.UnknownConnectionError) as error:
            raise ApiError(0, str(error), request) from error
        except exceptions.HttpError as error:  # of Keystone itself, when a token is renewed
            raise ApiError(int(error.http_status or 0), str(error), request) from error
        return _Answer(response)


def _bare_adapter(connection: Any) -> Any:
    """For a service that not every cloud has: openstacksdk's own proxy looks for it when it is made."""
    from keystoneauth1.adapter import Adapter

    config, kind = connection.config, "block-storage"
    return Adapter(
        connection.session,
        service_type=kind,
        interface=config.get_interface(kind),
        region_name=config.get_region_name(kind),
    )


def _region(config: Any, login: Login) -> Any:
    """The cloud's configuration: of clouds.yaml, or of the credentials given and nothing else."""
    more = {"region_name": login.region, "interface": login.interface, "cacert": login.ca_file}
    given: dict[str, Any] = {key: value for key, value in more.items() if value}
    if login.cloud:
        files = [login.clouds_file] if login.clouds_file else None
        return config(config_files=files, load_envvars=files is None).get_one(cloud=login.cloud, **given)
    auth = {"auth_url": login.auth_url}
    if login.username:
        kind = "v3password"
        auth |= {"username": login.username, "password": login.secret, "project_name": login.project}
        auth |= {"user_domain_name": login.user_domain, "project_domain_name": login.project_domain}
    else:
        kind = "v3applicationcredential"
        auth |= {"application_credential_id": login.credential_id, "application_credential_secret": login.secret}
    alone = config(load_yaml_config=False, load_envvars=False)
    return alone.get_one(auth_type=kind, auth=auth, **given)


class _Answer:
    def __init__(self, response: Any) -> None:
        self._response = response

    @property
    def status(self) -> int:
        return int(self._response.status_code)

    @property
    def text(self) -> str:
        return str(self._response.text)

    @property
    def retry_after(self) -> str:
        return str(self._response.headers.get("Retry-After", ""))
