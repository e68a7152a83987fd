"""The `gnomon` command: registers one function a command and turns errors into one line.

Exit codes: 0 VALID (or done), 1 INVALID, 2 the user's mistake, 130 interrupted.
"""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from typing import Annotated

import typer

from gnomon.cli.exit_codes import EXIT_INTERRUPTED
from gnomon.core.errors import GnomonError, GnomonWarning
from gnomon.core.version import __version__

EXIT_INVALID = 1
EXIT_USAGE = 2

app = typer.Typer(
    name="gnomon",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
loadgen = typer.Typer(no_args_is_help=True, help="Look into the load generator.")
app.add_typer(loadgen, name="loadgen")


@app.callback(invoke_without_command=True)
def gnomon(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Measure machine-learning systems fairly.

    `gnomon run` measures handwritten-digit classification on ONNX Runtime in under a minute;
    `gnomon list` shows what else there is.
    """
    if version:
        typer.echo(f"gnomon {__version__}")
        raise typer.Exit


for command in ("run", "resume", "list", "show", "check", "compare", "report", "doctor"):
    module = import_module(f"gnomon.cli.{command}")
    app.command(command)(getattr(module, "list_" if command == "list" else command))
loadgen.command("schedule")(import_module("gnomon.cli.schedule").schedule)
app.add_typer(import_module("gnomon.cli.recommend").recommend, name="recommend")
app.add_typer(import_module("gnomon.cli.federated").federated, name="federated")
app.add_typer(import_module("gnomon.cli.tiny").tiny, name="tiny")
app.add_typer(import_module("gnomon.cli.training").training, name="training")
app.add_typer(import_module("gnomon.cli.mobile").mobile, name="mobile")


# Typer carries its own copy of Click since 0.26, and before that used the installed one: the classes that
# it raises are reached through the one that it exports.
_ClickException: type[Exception] = typer.BadParameter.__mro__[2]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit."""
    warnings.showwarning = _note  # type: ignore[assignment]
    try:
        code = app(arguments, standalone_mode=False)
    except _ClickException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()  # type: ignore[attr-defined]
            code = EXIT_USAGE
        else:
            code = _mistake(error.format_message())  # type: ignore[attr-defined]
    except GnomonError as error:
        code = _mistake(str(error))
    except (typer.Abort, KeyboardInterrupt):  # versions of Typer differ in what they make of Ctrl-C
        code = EXIT_INTERRUPTED
    except OSError as error:  # where files are ours, the error says which and what to do
        code = _mistake(f"cannot read or write: {error.strerror or error}")
    if code == EXIT_INTERRUPTED:
        # Commands that leave something to go on with say so themselves.
        typer.echo("gnomon: interrupted", err=True)
    sys.exit(code if isinstance(code, int) else 0)


def _note(message: Warning | str, category: type[Warning], *_: object) -> None:
    """Say a warning of ours in one line; leave those of libraries to whoever develops them."""
    if issubclass(category, GnomonWarning):
        typer.echo(f"gnomon: note: {message}", err=True)


def _mistake(message: str) -> int:
    """Say it in one line."""
    typer.echo(f"gnomon: {' '.join(message.split())}", err=True)
    return EXIT_USAGE


if __name__ == "__main__":
    main()
