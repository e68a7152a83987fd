"""From what was asked for to a server that listens: state, runtime, catalogue, token, certificate, socket."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gnomon.core.errors import MissingExtraError, SettingsError
from gnomon.results.mobile_history import History
from gnomon.web.addresses import Reachable, is_loopback, reachable_under
from gnomon.web.app import Parts, make_app
from gnomon.web.campaign import Campaign
from gnomon.web.catalogue import make_catalogue
from gnomon.web.certificate import Certificate, certificate_for
from gnomon.web.runtime_package import Observer, ensure_runtime
from gnomon.web.state import open_state, served_alone, token_of

try:
    import uvicorn
    from starlette.types import ASGIApp
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ImportError:
    raise MissingExtraError("uvicorn", "mobile", "serving the page") from None

BACKLOG = 128
PATIENCE_S = 10
"""Requests in progress have so long to end once the server is stopped."""


@dataclass(frozen=True)
class Asked:
    """What is asked for.

    Attributes:
        host: Address to listen on.
        port: 0 takes any that is free.
        plain: http also where other machines reach it.
        out: Where run folders go.
        new_token: Makes addresses that were given out before worth nothing.
        runtime: The runtime's tarball, already downloaded.
    """

    host: str = "127.0.0.1"
    port: int = 8443
    plain: bool = False
    out: Path = Path("runs")
    new_token: bool = False
    runtime: Path | None = None


@dataclass(frozen=True)
class Ready:
    """A server that listens and has yet to answer.

    Attributes:
        app: What answers.
        listener: The socket.
        addresses: To be opened in a browser, the likeliest first, each with the token.
        secure_context: Whether browsers give the page threads, a fine clock and a service worker.
        certificate: Of https; None of http.
        left_out: Benchmarks that cannot be offered, and why.
        is_in_a_network: Whether other machines can reach any of the addresses, where they may.
    """

    app: ASGIApp
    listener: socket.socket
    addresses: tuple[str, ...]
    secure_context: bool
    certificate: Certificate | None
    left_out: dict[str, str]
    is_in_a_network: bool

    def server(self, announce: Callable[[], None] = lambda: None) -> uvicorn.Server:
        """What answers requests once it is `run` with the listener.

        Args:
            announce: Called when it does, and a Ctrl-C can no longer be lost.
        """
        config = uvicorn.Config(
            self.app,
            http="h11",  # it bounds the head of a request, which anybody may send; httptools does not
            log_level="error",
            access_log=False,  # addresses hold the token
            server_header=False,
            ws="none",
            lifespan="on",
            timeout_graceful_shutdown=PATIENCE_S,
            ssl_certfile=str(self.certificate.certificate) if self.certificate else None,
            ssl_keyfile=str(self.certificate.key) if self.certificate else None,
        )
        return _Server(config, announce)

    def serve(self, announce: Callable[[], None]) -> None:
        """Answer requests until Ctrl-C or SIGTERM; requests in progress are ended first.

        Raises:
            KeyboardInterrupt: It was Ctrl-C.
        """
        self.server(announce).run(sockets=[self.listener])


class _Server(uvicorn.Server):
    """One that says when it has started, and waits at its end for requests in progress alone."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to answer, and say so."""
        await super().startup(sockets)
        if self.started:
            self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop to answer. A browser keeps connections on which it asks nothing: those are cut at once.

        Over https a connection that is closed in good order waits for the other side, which may have gone.
        """
        for connection in list(self.server_state.connections):
            if isinstance(connection, H11Protocol) and (
                not connection.cycle or connection.cycle.response_complete
            ):
                connection.transport.abort()
        await super().shutdown(sockets)


@contextmanager
def made_ready(asked: Asked, observer: Observer | None = None) -> Iterator[Ready]:
    """Make everything ready; the socket and the state folder are held until the end.

    Args:
        asked: What is asked for.
        observer: Told how the download of the runtime goes on.

    Raises:
        SettingsError: The address or port cannot be listened on.
        DataError: The runtime or the tasks cannot be had.
        RunFolderError: The folder cannot be written, or another server has it.
    """
    state_folder = open_state(asked.out)
    with served_alone(state_folder), _listening(asked.host, asked.port) as listener:
        runtime = ensure_runtime(asked.runtime, observer=observer)
        catalogue = make_catalogue(runtime)
        token = token_of(state_folder, new=asked.new_token)
        local = is_loopback(asked.host)
        reachable = reachable_under(asked.host)
        https = not (local or asked.plain)
        certificate = certificate_for(reachable, state_folder) if https else None
        campaign = Campaign(catalogue, asked.out, state_folder)
        authority = certificate.authority if certificate else None
        parts = Parts(runtime, catalogue, campaign, History(asked.out), authority=authority)
        yield Ready(
            make_app(parts, token),
            listener,
            _addresses(reachable, listener.getsockname()[1], token, https=https),
            local or https,
            certificate,
            dict(catalogue.left_out),
            reachable.is_in_a_network,
        )


def _addresses(reachable: Reachable, port: int, token: str, *, https: bool) -> tuple[str, ...]:
    scheme, usual = ("https", 443) if https else ("http", 80)
    ending = "" if port == usual else f":{port}"
    return tuple(f"{scheme}://{host}{ending}/{token}/" for host in reachable.hosts)


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise SettingsError(
            f"{host!r} is no address of this machine ({error}): choose another --host"
        ) from None
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {host} port {port} ({error.strerror}): choose another --port or --host"
            ) from None
        yield listener
