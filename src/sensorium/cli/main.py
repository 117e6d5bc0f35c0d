"""The command line: one file a verb; what a verb needs is imported when it runs, so that `--help` costs no torch."""

from __future__ import annotations

import os
import sys

import typer

import sensorium
from sensorium.cli import ask, caption, compare, data, demo, embed, evaluate, lab, models, rate, read, train, transcribe
from sensorium.errors import SensoriumError

app = typer.Typer(
    name="sensorium",
    help="Ask about text, images, sound, video and documents; on a laptop, offline, and every answer says what it rests on.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
for verb in (ask, caption, transcribe, read, embed):
    app.command(verb.__name__.rpartition(".")[2])(verb.run)
app.add_typer(models.app, name="models")
app.add_typer(data.app, name="data")
app.command("train")(train.run)
app.command("lab")(lab.run)
app.command("evaluate")(evaluate.run)
app.command("compare")(compare.run)
app.command("rate")(rate.run)
app.command("demo")(demo.run)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sensorium {sensorium.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version and stop."),
) -> None:
    pass


def main() -> None:
    """Run a command; what a person can put right is one line on standard error and an exit code that tells its kind."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait must not spin: the machine may be shared
    try:
        app()
    except SensoriumError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)


if __name__ == "__main__":
    main()
