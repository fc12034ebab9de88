"""The languages of sessions: which kernel, and what a batch step does when nobody says.

Knows names, images and lines for the shell. Must not know what is installed, nor who runs them.

The default commands are for any POSIX shell and are run in the session's folder. A language whose
kernel is on no ordinary machine has the command kernel: its cells are lines for the shell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from kernel_gateway.errors import Refused
from kernel_gateway.service import DEFAULT_COMMAND

if TYPE_CHECKING:
    from typing import NoReturn

COMMAND_KERNEL = "kernel-gateway-command"

# -- default commands ----------------------------------------------------------------------------

_IF_MAKEFILE = "if [ -f GNUmakefile ] || [ -f makefile ] || [ -f Makefile ]; then"


def _make_or(own: str = "") -> str:
    return f"{_IF_MAKEFILE} make\n{own}fi"


def _compile(command: str, *patterns: str) -> str:
    """All sources in the folder at once, as "$@"; where there are none, nothing is to be built."""
    return (
        "else\n"
        "  set --\n"
        f"  for file in {' '.join(f'./{pattern}' for pattern in patterns)}; do\n"
        '    if [ -f "$file" ]; then set -- "$@" "$file"; fi\n'
        "  done\n"
        f'  if [ "$#" -gt 0 ]; then {command}; fi\n'
    )


def _run(*choices: tuple[str, str, str]) -> str:
    """The first of the choices (what to look for, a test for it, a command), then a program."""
    programs = [(path, f"[ -f {path} ] && [ -x {path} ]", path) for path in ("./main", "./a.out")]
    every = [*choices, *programs]
    names = ", ".join(name for name, _, _ in every)
    cases = "\nelif ".join(f"{test}; then {command}" for _, test, command in every)
    return (
        f"if {cases}\nelse echo 'There is nothing to run. Looked for: {names}.' >&2; exit 127\nfi"
    )


def _script(name: str, command: str) -> tuple[str, str, str]:
    return name, f"[ -f {name} ]", f"{command} {name}"


_BUILD = _make_or()
_EXEC = _run()
_MAKE_CLEAN = f"{_IF_MAKEFILE} make clean; fi"
# As in `java Main`, but also where CLASSPATH is set, which would leave out the folder.
_CLASSES = '-cp ".${CLASSPATH:+:$CLASSPATH}"'


# -- the table -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """A kind of session."""

    name: str
    kernelspec: str  # of the kernel that runs its queries
    names: tuple[str, ...] = ()  # others: aliases, images without registry and tag
    clean: str = ""  # empty: there is nothing to be done
    build: str = _BUILD
    exec: str = _EXEC

    def is_called(self, name: str) -> bool:
        wanted = name.casefold()
        return any(wanted == own.casefold() for own in (self.name, *self.names))


LANGUAGES: tuple[Language, ...] = (
    Language(
        name="python",
        kernelspec="python3",
        names=("python3", "py", "ipython", "ipykernel", "python-pytorch", "python-tensorflow"),
        build=_make_or("elif [ -f setup.py ]; then python3 -m pip install .\n"),
        exec=_run(_script("main.py", "python3")),
    ),
    Language(
        name="c",
        kernelspec=COMMAND_KERNEL,
        names=("gcc", "clang", "c11", "c17"),
        clean=_MAKE_CLEAN,
        build=_make_or(_compile('cc -o main "$@" -lm -lpthread', "*.c")),
    ),
    Language(
        name="cpp",
        kernelspec=COMMAND_KERNEL,
        names=("c++", "cxx", "g++", "gpp"),
        clean=_MAKE_CLEAN,
        build=_make_or(_compile('c++ -o main "$@" -lm -lpthread', "*.cpp", "*.cc", "*.cxx")),
    ),
    Language(
        name="java",
        kernelspec=COMMAND_KERNEL,
        names=("openjdk", "jdk", "eclipse-temurin"),
        build=_make_or(_compile(f'javac {_CLASSES} -d . "$@"', "*.java")),
        exec=_run(("Main.class", "[ -f Main.class ]", f"java {_CLASSES} Main")),
    ),
    Language(
        name="rust",
        kernelspec=COMMAND_KERNEL,
        names=("rs", "rustlang"),
        build=_make_or(
            "elif [ -f Cargo.toml ]; then cargo build --release\n"
            "elif [ -f main.rs ]; then rustc -o main main.rs\n"
        ),
        # Where the program of a package is, and what it is called, cargo alone knows.
        exec=_run(("Cargo.toml", "[ -f Cargo.toml ]", "cargo run --release --quiet")),
    ),
    Language(
        name="go",
        kernelspec=COMMAND_KERNEL,
        names=("golang",),
        build=_make_or(
            "elif [ -f go.mod ]; then go build -o main .\n"
            + _compile('go build -o main "$@"', "*.go")
        ),
    ),
    Language(
        name="javascript",
        kernelspec=COMMAND_KERNEL,
        names=("node", "nodejs", "js"),
        exec=_run(
            _script("main.js", "node"),
            ("package.json", "[ -f package.json ]", "node ."),  # its "main", else index.js
            _script("index.js", "node"),
        ),
    ),
    Language(
        name="r",
        kernelspec="ir",
        names=("r-base", "irkernel", "rscript"),
        exec=_run(_script("main.R", "Rscript")),
    ),
    Language(
        name="julia",
        kernelspec="julia",
        names=("ijulia", "jl"),
        exec=_run(_script("main.jl", "julia")),
    ),
)

#: Of sessions whose language nobody knows.
_UNKNOWN = Language(name="unknown", kernelspec=COMMAND_KERNEL)


# -- questions -----------------------------------------------------------------------------------


def language_of_image(
    image: str, languages: Iterable[Language], images: Mapping[str, str]
) -> Language | None:
    """What the deployer has said of exactly this image; else by its name, with nothing around it.

    None: it may still be a kernelspec, under the name that `images` has for it or under its own.
    """
    languages = tuple(languages)
    if (mapped := images.get(image)) is not None:
        return _called(mapped, languages) or _of_kernelspec(mapped, languages)
    return _called(_bare(image), languages)


def language_of_spec(
    spec_name: str, spec_language: str, languages: Iterable[Language]
) -> Language | None:
    """Of a kernel that was asked for by its kernelspec; it keeps that kernelspec."""
    languages = tuple(languages)
    found = (
        _called(spec_language, languages)
        or _called(_without_version(spec_language), languages)
        or _of_kernelspec(spec_name, languages)
    )
    return None if found is None else replace(found, kernelspec=spec_name)


def commands_of(language: Language | None, which: str, given: str | None) -> str:
    """The line for a step `clean`, `build` or `exec`; empty when it is left out."""
    if given != DEFAULT_COMMAND:
        return given or ""
    known = language or _UNKNOWN
    return {"clean": known.clean, "build": known.build, "exec": known.exec}[which]


def _bare(image: str) -> str:
    """`python` of `cr.backend.ai/stable/python:3.9-ubuntu20.04@sha256:00`; `lang-` is older."""
    name = image.partition("@")[0].rpartition("/")[2].partition(":")[0]
    return re.sub(r"\A(?:lang|kernel)-", "", name)


def _without_version(language: str) -> str:
    """`C++` of `C++17`."""
    return re.sub(r"[\s\d.]+\Z", "", language)


def _called(name: str, languages: Iterable[Language]) -> Language | None:
    return next((language for language in languages if language.is_called(name)), None)


def _of_kernelspec(name: str, languages: Iterable[Language]) -> Language | None:
    """None for the command kernel, which is that of many."""
    found = [language for language in languages if language.kernelspec == name]
    return found[0] if len(found) == 1 else None


# -- what a deployer says ------------------------------------------------------------------------

_FIELDS = tuple(field.name for field in fields(Language) if field.name != "name")


def merged(
    given: Mapping[str, Any], defaults: Sequence[Language] = LANGUAGES
) -> tuple[Language, ...]:
    """The defaults with what is given by name over them; new names are new languages. `Refused`."""
    known = {language.name: language for language in defaults}
    for name, values in given.items():
        _check_values(name, values)
        known[name] = _with_values(known.get(name), name, values)
    languages = tuple(known.values())
    _refuse_twins(languages)
    return languages


def checked_images(given: Mapping[str, Any]) -> Mapping[str, str]:
    """`Refused`."""
    for image, target in given.items():
        if not (isinstance(image, str) and _is_name(target)):
            _refuse(f"images[{image!r}] must be a language or a kernelspec, not {target!r}")
    return dict(given)


def _with_values(language: Language | None, name: str, values: Mapping[str, Any]) -> Language:
    if "names" in values:
        values = {**values, "names": tuple(values["names"])}
    if language is not None:
        return replace(language, **values)
    if "kernelspec" not in values:
        _refuse(f"languages[{name!r}] is new here and needs a kernelspec")
    return Language(name=name, **values)


def _check_values(name: object, values: object) -> None:
    if not _is_name(name):
        _refuse(f"languages: {name!r} is not the name of a language")
    if not isinstance(values, Mapping):
        _refuse(f"languages[{name!r}] must be a dictionary, not {values!r}")
    for field, value in values.items():
        _check_value(f"languages[{name!r}][{field!r}]", field, value)


def _check_value(where: str, field: object, value: object) -> None:
    if field not in _FIELDS:
        _refuse(f"{where}: only {', '.join(_FIELDS)} can be set")
    if field == "names":
        if not (isinstance(value, list | tuple) and all(map(_is_name, value))):
            _refuse(f"{where} must be a list of names, not {value!r}")
    elif field == "kernelspec":
        if not _is_name(value):
            _refuse(f"{where} must be the name of a kernelspec, not {value!r}")
    elif not isinstance(value, str) or "\0" in value:
        _refuse(f"{where} must be a line for the shell, not {value!r}")


def _refuse_twins(languages: Iterable[Language]) -> None:
    """Of two languages of one name the second would never be found."""
    owners: dict[str, str] = {}
    for language in languages:
        for name in (language.name, *language.names):
            owner = owners.setdefault(name.casefold(), language.name)
            if owner != language.name:
                _refuse(f"languages: {name!r} is a name of both {owner} and {language.name}")


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _refuse(what: str) -> NoReturn:
    raise Refused(f"Languages.{what}.")
