"""What all commands share: configuration, the log, and one line for what cannot be done.

Must not import what only one command needs: the time to the first output is a feature.
"""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, NoReturn

from jupyter_core.application import JupyterApp, base_aliases, base_flags
from traitlets import TraitError, default
from traitlets.config.loader import ArgumentError, KVArgParseConfigLoader

from kernel_gateway.commands.ordered import help_lines, taken
from kernel_gateway.config import CLASSES, Settings, read_settings
from kernel_gateway.errors import GatewayError, KernelSpecNotFound, Refused

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from kernel_gateway.commands.ordered import GivenOption, OrderedOption

REFUSED = 1
USAGE = 2
NO_KERNEL = 3
INTERRUPTED = 130

ALIASES: dict[Any, Any] = {**base_aliases, "data-dir": "Gateway.data_dir"}
FLAGS: dict[Any, Any] = {**base_flags}


class UsageError(Refused):
    """The command line makes no sense; the message says what would."""


class _StrictLoader(KVArgParseConfigLoader):
    """An option that nobody knows is no warning: a limit that is misspelt would be none."""

    def _create_parser(self) -> None:
        super()._create_parser()
        self.parser.error = self._refuse  # type: ignore[method-assign]

    def _refuse(self, message: str) -> NoReturn:
        """In one line, without the names of all options before it."""
        option = _WITHOUT_VALUE.fullmatch(message)
        if option is not None and "." not in option[1]:  # ours have the names of their traits here
            self._handle_unrecognized_alias(option[1])
        raise ArgumentError(f"{message[:1].upper()}{message[1:]}.")

    def _handle_unrecognized_alias(self, arg: str) -> NoReturn:
        raise ArgumentError(f"There is no option --{arg}; --help lists those there are.")


_WITHOUT_VALUE = re.compile(r"argument --?(\S+): expected one argument")


class Command(JupyterApp):
    """A subclass has `run`, which returns the exit code."""

    classes = CLASSES
    aliases = ALIASES
    flags = FLAGS
    #: Options beside those of traits; what is given of them is in `given`, in its order.
    ordered: Sequence[OrderedOption] = ()
    given: Sequence[GivenOption] = ()
    #: Logger names whose lines are shown; all of them go to stderr.
    _loggers = ("kernel_gateway", "tornado", "asyncio")

    @default("config_file_name")
    def _own_config_file_name(self) -> str:
        return "kernel_gateway_config"

    @default("version")
    def _own_version(self) -> str:
        return version()

    @default("logging_config")
    def _own_logging_config(self) -> dict[str, Any]:
        """All of the package through the one handler of the command."""
        shown = {"level": "DEBUG", "handlers": ["console"], "propagate": False}
        return {"loggers": dict.fromkeys(self._loggers, shown)}

    @default("log_format")
    def _own_log_format(self) -> str:
        return "%(highlevel)s %(name)s: %(message)s"

    def migrate_config(self) -> None:
        """Jupyter's move of IPython 3's files is not ours to start."""

    def _find_subcommand(self, name: str) -> str:
        """Programs named kernel-gateway-* that lie around are no part of us."""
        return ""

    def exit(self, exit_status: int | str | None = 0) -> None:
        """traitlets calls it after --help, and with 1 after options that it cannot read."""
        super().exit(USAGE if exit_status == 1 else exit_status)

    def _create_loader(
        self, argv: list[str] | None, aliases: Any, flags: Any, classes: Any
    ) -> KVArgParseConfigLoader:
        self.given, rest = taken(sys.argv[1:] if argv is None else argv, self.ordered)
        return _StrictLoader(
            rest, aliases, flags, classes=classes, log=self.log, subcommands=self.subcommands
        )

    def emit_alias_help(self) -> Generator[str, None, None]:
        yield from super().emit_alias_help()
        yield from help_lines(self.ordered)

    def emit_examples(self) -> Generator[str, None, None]:
        """traitlets takes the indentation from the first line, which it has stripped by then."""
        self.examples = cleandoc(self.examples)
        yield from super().emit_examples()

    def read_settings(self) -> Settings:
        try:
            return read_settings(self.config)
        except TraitError as fault:
            raise UsageError(str(fault)) from None

    def run(self) -> int:
        raise NotImplementedError

    def start(self) -> None:
        super().start()  # it may be asked for a configuration file only; then it raises NoStart
        sys.exit(self._guarded_run())

    def _guarded_run(self) -> int:
        self.log.debug("configured")  # the log takes its form at the first line
        try:
            return self.run()
        except UsageError as fault:
            return self._say(fault, USAGE)
        except KernelSpecNotFound as fault:
            return self._say(fault, NO_KERNEL)
        except (GatewayError, OSError) as fault:
            return self._say(fault, REFUSED)

    def _say(self, fault: GatewayError | OSError, code: int) -> int:
        with suppress(OSError):  # it may be what the fault is about
            sys.stdout.flush()
        print(f"{self.name}: {fault}", file=sys.stderr)
        return code


class CommandGroup(Command):
    """A command that is nothing but the first word of others, its `subcommands`."""

    def run(self) -> int:
        if not self.extra_args:
            self.print_help()
            return USAGE
        commands = ", ".join(self.subcommands)
        unknown = self.extra_args[0]
        print(f"{self.name}: there is no command {unknown!r}, only {commands}.", file=sys.stderr)
        return USAGE


def version() -> str:
    from importlib.metadata import PackageNotFoundError  # 30 ms that few commands need
    from importlib.metadata import version as installed

    try:
        return installed("kernel-gateway")
    except PackageNotFoundError:
        return "0+not.installed"  # run out of its source folder
