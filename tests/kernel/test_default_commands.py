"""The commands that `*` stands for, as shells run them with real compilers in a real folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kernel_gateway.execution.languages import LANGUAGES, commands_of
from tests.shared.programs import needs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kernel_gateway.execution.languages import Language

LIMIT_S = 120  # a compiler that takes longer is stuck

BY_NAME = {language.name: language for language in LANGUAGES}

_C = '#include <stdio.h>\nint part(void);\nint main(void) { printf("%d\\n", part()); return 3; }\n'
_CPP = '#include <iostream>\nint part();\nint main() { std::cout << part() << "\\n"; return 3; }\n'
_JAVA = """
public class Main {
  public static void main(String[] a) { System.out.println(Part.of()); System.exit(3); }
}
"""
_RUST = 'fn main() { println!("42"); std::process::exit(3); }\n'
_CARGO = '[package]\nname = "odd-name"\nversion = "0.1.0"\nedition = "2021"\n'

TOOLS = {
    "c": ["cc"],
    "cpp": ["c++"],
    "java": ["javac", "java"],
    "javascript": ["node"],
    "python": [],
    "rust": ["rustc", "cargo"],
}

#: Programs that print 42 and end with 3, in two parts where a build has to put them together.
PROGRAMS: list[tuple[str, Mapping[str, str]]] = [
    ("c", {"a.c": _C, "the other.c": "int part(void) { return 42; }\n"}),
    ("cpp", {"a.cpp": _CPP, "-b.cc": "int part() { return 42; }\n", "c.cxx": ""}),
    ("python", {"main.py": "import part, sys\nprint(part.it)\nsys.exit(3)\n", "part.py": "it=42"}),
    ("java", {"Main.java": _JAVA, "Part.java": "class Part { static int of() { return 42; } }\n"}),
    ("javascript", {"main.js": "console.log(42); process.exitCode = 3\n"}),
    (
        "javascript",
        {"package.json": '{"main": "it.js"}', "it.js": "console.log(42); process.exitCode = 3\n"},
    ),
    ("javascript", {"index.js": "console.log(42); process.exitCode = 3\n"}),
]
RUST_PROGRAMS: list[Mapping[str, str]] = [
    {"main.rs": _RUST},
    {"Cargo.toml": _CARGO, "src/main.rs": _RUST},
]

#: A build backend without a build: pip needs neither setuptools nor a network for it.
_BACKEND = """
import zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    info = "part-1.dist-info"
    with zipfile.ZipFile(f"{folder}/part-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("part.py", "it = 42")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: part\\nVersion: 1\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return "part-1-py3-none-any.whl"
"""


@pytest.fixture(params=["sh", "bash"])
def shell(request: pytest.FixtureRequest) -> str:
    return f"/bin/{request.param}"


class Folder:
    """A session's folder with the programs of this machine, and the Python of these tests."""

    def __init__(self, path: Path, shell: str) -> None:
        path.mkdir()
        self.path = path
        self._shell = shell
        python = Path(sys.executable).parent
        self.env = {**os.environ, "PATH": f"{python}:{os.environ['PATH']}", "CLASSPATH": "/else"}

    def put(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    def run(self, language: Language | None, which: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        done = subprocess.run(
            [self._shell, "-c", commands_of(language, which, "*")],
            cwd=self.path,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def folder(tmp_path: Path, shell: str) -> Folder:
    return Folder(tmp_path / "a folder", shell)


@pytest.mark.parametrize(("language", "files"), PROGRAMS)
def test_a_program_is_built_and_run(
    folder: Folder, language: str, files: Mapping[str, str]
) -> None:
    check_program(folder, BY_NAME[language], files)


@pytest.mark.skipif(shutil.which("cargo") is None, reason="Rust is not on every machine")
@pytest.mark.parametrize("files", RUST_PROGRAMS)
def test_a_program_in_rust_is_built_and_run(folder: Folder, files: Mapping[str, str]) -> None:
    check_program(folder, BY_NAME["rust"], files)


def check_program(folder: Folder, language: Language, files: Mapping[str, str]) -> None:
    for tool in TOOLS[language.name]:
        needs(tool)
    folder.put(files)
    code, _, said = folder.run(language, "build")
    assert 0 == code, said
    code, printed, said = folder.run(language, "exec")
    assert (3, "42\n", "") == (code, printed, said)


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
def test_an_empty_folder_has_nothing_to_build_and_says_that_it_has_nothing_to_run(
    folder: Folder, language: Language
) -> None:
    assert (0, "", "") == folder.run(language, "clean")
    assert (0, "", "") == folder.run(language, "build")
    assert [] == os.listdir(folder.path)
    code, printed, said = folder.run(language, "exec")
    assert (127, "") == (code, printed)
    assert said.startswith("There is nothing to run. Looked for: ")
    assert said.endswith("./main, ./a.out.\n")


@pytest.mark.parametrize(
    "language", [None, *LANGUAGES], ids=lambda one: one.name if one else "none"
)
@pytest.mark.parametrize("name", ["Makefile", "makefile", "GNUmakefile"])
def test_a_makefile_goes_before_all_else(
    folder: Folder, language: Language | None, name: str
) -> None:
    """Even before what would not compile."""
    folder.put({name: "all:\n\t@echo made\nclean:\n\t@echo cleaned\n"})
    folder.put(dict.fromkeys(["x.c", "x.cpp", "Main.java", "main.rs", "setup.py", "x.go"], "?!"))
    assert (0, "made\n", "") == folder.run(language, "build")
    cleaned = "cleaned\n" if language and language.name in ("c", "cpp") else ""
    assert (0, cleaned, "") == folder.run(language, "clean")


@pytest.mark.parametrize(
    ("language", "name"), [("c", "a.c"), ("cpp", "a.cpp"), ("java", "Main.java")]
)
def test_a_build_that_fails_has_the_code_of_the_compiler(
    folder: Folder, language: str, name: str
) -> None:
    folder.put({name: "?!"})
    code, _, said = folder.run(BY_NAME[language], "build")
    assert 1 == code
    assert "error" in said
    assert [name] == os.listdir(folder.path)


def test_a_program_that_was_made_otherwise_is_run(folder: Folder) -> None:
    folder.put({"a.out": "#!/bin/sh\necho a.out\n", "main": "#!/bin/sh\necho main\n"})
    (folder.path / "a.out").chmod(0o755)
    assert (0, "a.out\n", "") == folder.run(None, "exec")  # main cannot be executed
    (folder.path / "main").chmod(0o755)
    for language in (None, *LANGUAGES):
        assert (0, "main\n", "") == folder.run(language, "exec")


def test_a_folder_with_a_setup_py_is_installed(folder: Folder, tmp_path: Path) -> None:
    backend = '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n'
    folder.put({"setup.py": "", "pyproject.toml": backend, "own.py": _BACKEND})
    folder.put({"main.py": "import part\nprint(part.it)\n"})
    folder.env |= {"PIP_TARGET": str(tmp_path / "site"), "PIP_NO_INDEX": "1"}
    code, _, said = folder.run(BY_NAME["python"], "build")
    assert 0 == code, said
    folder.env["PYTHONPATH"] = str(tmp_path / "site")
    assert (0, "42\n", "") == folder.run(BY_NAME["python"], "exec")


def test_a_file_of_a_package_alone_is_told_by_node(folder: Folder) -> None:
    folder.put({"package.json": '{"main": "none.js"}'})
    code, _, said = folder.run(BY_NAME["javascript"], "exec")
    assert 1 == code
    assert "Cannot find module" in said
