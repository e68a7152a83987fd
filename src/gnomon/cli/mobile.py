"""`gnomon mobile`: measure phones and tablets through a page that they open; what was measured so far."""

from __future__ import annotations

import json as json_module
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gnomon.cli import mobile_results
from gnomon.core.errors import MissingExtraError, SettingsError

if TYPE_CHECKING:
    from gnomon.web.runtime_package import Observer
    from gnomon.web.serve import Ready

mobile = typer.Typer(no_args_is_help=True, help="Measure phones and tablets in their browser.")
mobile.command("results")(mobile_results.results)
mobile.command("export")(mobile_results.export)
mobile.command("import")(mobile_results.import_)
mobile.command("share")(mobile_results.share)
mobile.command("audit")(mobile_results.audit)

LOOPBACK = "127.0.0.1"
EVERY_ADDRESS = "0.0.0.0"
PORT = 8443
NETWORK = "Network"
OUTPUT = "Output"
WARNING = (
    "warning     The phone will say that the connection is not private: the certificate was made",
    "            here, and nobody else vouches for it. Choose Advanced, then Proceed (Chrome), Accept",
    "            the Risk (Firefox), or Show Details, then visit this website (Safari). Measuring needs",
    "            no more. To use the page offline too, open the address with authority.crt at its end,",
    "            compare its fingerprint, and install it as a CA certificate: it can vouch for this",
    "            machine alone.",
)
COSTS_OF_PLAIN_HTTP = (
    "plain http  Browsers give such a page one thread, a coarse clock, no service worker and no wake",
    "            lock: keep the screen on by hand. Leave out --http for all of them.",
)


@mobile.command("serve")
def serve(
    host: Annotated[
        str | None,
        typer.Option(help=f"Address to listen on; default: {LOOPBACK}.", rich_help_panel=NETWORK),
    ] = None,
    lan: Annotated[
        bool,
        typer.Option(
            "--lan",
            help="Let other machines of the network open the page.",
            rich_help_panel=NETWORK,
        ),
    ] = False,
    port: Annotated[
        int,
        typer.Option(help="0: any that is free.", min=0, max=65535, rich_help_panel=NETWORK),
    ] = PORT,
    http: Annotated[
        bool,
        typer.Option(
            "--http",
            help="No https: browsers then give the page one thread, a coarse clock, no wake lock.",
            rich_help_panel=NETWORK,
        ),
    ] = False,
    new_token: Annotated[
        bool,
        typer.Option(
            "--new-token",
            help="Make a new address; those given out before open nothing any more.",
            rich_help_panel=NETWORK,
        ),
    ] = False,
    runtime: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.tgz",
            help="ONNX Runtime Web's package, already downloaded.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="The folder that run folders go into.", rich_help_panel=OUTPUT)
    ] = Path("runs"),
    qr: Annotated[
        bool | None,
        typer.Option(
            "--qr/--no-qr",
            help="Show the address as a QR code; default: in a terminal.",
            rich_help_panel=OUTPUT,
            show_default=False,
        ),
    ] = None,
    json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print addresses and fingerprints as JSON.", rich_help_panel=OUTPUT
        ),
    ] = False,
) -> None:
    """Serve the page that measures a phone, and keep what it measures as run folders.

    Only this machine can open it, unless **--lan** or **--host** says otherwise. The address holds a secret:
    whoever has it can start measurements. Ctrl-C ends the server; a page goes on when it is started again.
    """
    if lan and host is not None:
        raise SettingsError("--lan and --host both say where to listen: give one")
    from gnomon.web.serve import Asked, made_ready

    asked = Asked(
        host=host or (EVERY_ADDRESS if lan else LOOPBACK),
        port=port,
        plain=http,
        out=out,
        new_token=new_token,
        runtime=runtime,
    )
    with _download_shown() as observer, made_ready(asked, observer) as ready:

        def announce() -> None:
            try:
                if json:
                    typer.echo(json_module.dumps(_told(ready, out)))
                else:
                    _show(ready, out, qr=sys.stdout.isatty() if qr is None else qr)
                sys.stdout.flush()
            except BrokenPipeError:  # a reader that has seen enough; phones may still come
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

        try:
            ready.serve(announce)
        except KeyboardInterrupt:
            if not json:
                typer.echo("stopped: the same command goes on with the sessions in progress")


def _told(ready: Ready, out: Path) -> dict[str, object]:
    certificate = ready.certificate
    return {
        "addresses": list(ready.addresses),
        "secure_context": ready.secure_context,
        "fingerprint": certificate.fingerprint if certificate else None,
        "authority_fingerprint": certificate.authority_fingerprint if certificate else None,
        "certificate_expires_at": certificate.expires_at.isoformat() if certificate else None,
        "out": str(out),
        "left_out": ready.left_out,
    }


def _show(ready: Ready, out: Path, *, qr: bool) -> None:
    """What a person needs to open the page on the phone."""
    first, *others = ready.addresses
    typer.echo(f"page        {first}")
    for address in others:
        typer.echo(f"            {address}")
    if qr:
        _show_code(first)
    certificate = ready.certificate
    if certificate is not None:
        for line in WARNING:
            typer.echo(line)
        for of, fingerprint in (
            ("the page", certificate.fingerprint),
            ("authority.crt", certificate.authority_fingerprint),
        ):
            typer.echo(f"fingerprint {fingerprint[:47]}")
            typer.echo(f"            {fingerprint[48:]} (SHA-256, {of})")
    elif not ready.secure_context:
        for line in COSTS_OF_PLAIN_HTTP:
            typer.echo(line)
    if not ready.is_in_a_network:
        typer.echo(
            "no phone    this machine has no address in a network: connect it, and start again"
        )
    for benchmark, why in ready.left_out.items():
        typer.echo(f"left out    {benchmark}: {why}")
    typer.echo(f"runs        {out}")
    typer.echo("Ctrl-C ends it.")


def _show_code(address: str) -> None:
    try:
        import segno
    except ImportError:
        raise MissingExtraError("segno", "mobile", "showing a QR code") from None
    segno.make(address, error="l", micro=False).terminal(out=sys.stdout, compact=True)


@contextmanager
def _download_shown() -> Iterator[Observer | None]:
    """A progress bar for the runtime, on standard error, once something is downloaded; none elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    progress = Progress(
        TextColumn("downloading ONNX Runtime Web"),
        BarColumn(),
        DownloadColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = progress.add_task("download", total=None)

    def observe(done: int, total: int) -> None:
        progress.start()
        progress.update(task, completed=done, total=total or None)
        if done == total:
            progress.stop()

    try:
        yield observe
    finally:
        progress.stop()
