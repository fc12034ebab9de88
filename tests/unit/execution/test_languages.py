"""Which language an image, a kernelspec and a deployer mean, and which line a step is."""

from __future__ import annotations

from typing import Any

import pytest

from kernel_gateway.errors import Refused
from kernel_gateway.execution.languages import (
    COMMAND_KERNEL,
    LANGUAGES,
    Language,
    checked_images,
    commands_of,
    language_of_image,
    language_of_spec,
    merged,
)

PYTHON = LANGUAGES[0]


def of_image(image: str, **images: str) -> str | None:
    found = language_of_image(image, LANGUAGES, images)
    return None if found is None else found.name


# -- images --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "language"),
    [
        ("python", "python"),
        ("python:3.9", "python"),
        ("python:3.9-ubuntu20.04", "python"),
        ("cr.backend.ai/stable/python:3.9-ubuntu20.04", "python"),
        ("localhost:5000/python", "python"),
        ("localhost:5000/team/python:3@sha256:00ff", "python"),
        ("python@sha256:00ff", "python"),
        ("lang-python", "python"),
        ("lablup/kernel-python:3.6-debian", "python"),
        ("PYTHON3", "python"),
        ("cr.backend.ai/stable/python-tensorflow:2.7-py38", "python"),
        ("c", "c"),
        ("gcc:12", "c"),
        ("cpp", "cpp"),
        ("C++", "cpp"),
        ("java", "java"),
        ("openjdk:17", "java"),
        ("rust", "rust"),
        ("golang", "go"),
        ("nodejs", "javascript"),
        ("node:20-alpine", "javascript"),
        ("r-base", "r"),
        ("R", "r"),
        ("julia:1.9", "julia"),
        ("pythonic", None),
        ("python/other", None),
        ("", None),
        ("/", None),
        (":", None),
        ("lang-", None),
        ("lang-lang-python", None),
    ],
)
def test_an_image_goes_by_its_name(image: str, language: str | None) -> None:
    assert language == of_image(image)


def test_what_is_mapped_goes_first_and_by_its_whole_text() -> None:
    images = {"python": "julia", "lab/own:1": "Gcc", "lab/r:1": "ir", "lab/x:1": "some-kernelspec"}
    assert "julia" == of_image("python", **images)
    assert "python" == of_image("python:3", **images)
    assert "c" == of_image("lab/own:1", **images)
    assert None is of_image("lab/own:2", **images)
    assert "r" == of_image("lab/r:1", **images)


def test_an_image_mapped_to_some_kernelspec_is_not_taken_for_its_name() -> None:
    assert None is of_image("python", python="some-kernelspec")
    assert None is of_image("python", python=COMMAND_KERNEL)


# -- kernelspecs ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "spec_language", "language"),
    [
        ("conda-env", "python", "python"),
        ("ir", "R", "r"),
        ("julia-1.9", "julia", "julia"),
        ("xcpp17", "C++17", "cpp"),
        ("xcpp", "c++", "cpp"),
        ("xc11", "c11", "c"),
        ("jslab", "javascript", "javascript"),
        ("python3", "", "python"),
        ("bash", "bash", None),
        (COMMAND_KERNEL, "", None),
        (COMMAND_KERNEL, "bash", None),
        ("", "", None),
    ],
)
def test_a_kernelspec_goes_by_its_language(
    spec: str, spec_language: str, language: str | None
) -> None:
    found = language_of_spec(spec, spec_language, LANGUAGES)
    assert (None if language is None else (language, spec)) == (
        None if found is None else (found.name, found.kernelspec)
    )


# -- the table -----------------------------------------------------------------------------------


def test_what_has_no_kernel_on_ordinary_machines_has_the_command_kernel() -> None:
    assert {"c", "cpp", "java", "rust", "go", "javascript"} == {
        language.name for language in LANGUAGES if language.kernelspec == COMMAND_KERNEL
    }


def test_no_name_is_that_of_two() -> None:
    assert LANGUAGES == merged({})


@pytest.mark.parametrize("which", ["clean", "build", "exec"])
def test_a_step_is_left_out_or_its_own_or_the_default(which: str) -> None:
    for language in (None, *LANGUAGES):
        assert "" == commands_of(language, which, None)
        assert "" == commands_of(language, which, "")
        assert "make it" == commands_of(language, which, "make it")
        assert " * " == commands_of(language, which, " * ")
    for language in LANGUAGES:
        assert getattr(language, which) == commands_of(language, which, "*")


def test_a_language_nobody_knows_has_the_defaults_of_any() -> None:
    any_other = Language(name="x", kernelspec="x")
    for which in ("clean", "build", "exec"):
        assert commands_of(any_other, which, "*") == commands_of(None, which, "*")


# -- what a deployer says ------------------------------------------------------------------------


def test_a_deployer_changes_a_part_of_a_language() -> None:
    python, *others = merged({"python": {"kernelspec": "xpython", "names": ["lab-python"]}})
    assert ("xpython", ("lab-python",)) == (python.kernelspec, python.names)
    assert PYTHON.exec == python.exec
    assert LANGUAGES[1:] == tuple(others)


def test_a_deployer_adds_a_language() -> None:
    *_, deno = merged({"deno": {"kernelspec": "deno", "exec": "deno run main.ts"}})
    assert Language(name="deno", kernelspec="deno", exec="deno run main.ts") == deno


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"deno": {}}, "'deno'] is new here and needs a kernelspec"),
        ({"python": "python3"}, "'python'] must be a dictionary, not 'python3'"),
        ({"python": {"spec": "x"}}, "'spec'.: only kernelspec, names, clean, build, exec"),
        ({"python": {"name": "x"}}, "'name'.: only kernelspec"),
        ({"python": {"kernelspec": " "}}, "'kernelspec'. must be the name of a kernelspec"),
        ({"python": {"names": "py"}}, "'names'. must be a list of names, not 'py'"),
        ({"python": {"names": [1]}}, "must be a list of names"),
        ({"python": {"build": None}}, "'build'. must be a line for the shell, not None"),
        ({"python": {"build": "a\0"}}, "must be a line for the shell"),
        ({"python": {"names": ["GCC"]}}, "'gcc' is a name of both python and c"),
        ({"": {"kernelspec": "x"}}, "'' is not the name of a language"),
        ({1: {"kernelspec": "x"}}, "1 is not the name of a language"),
    ],
)
def test_what_cannot_be_meant_is_refused(given: dict[Any, Any], told: str) -> None:
    with pytest.raises(Refused, match=rf"^Languages\.languages.*{told}.*\.$"):
        merged(given)


def test_images_are_texts() -> None:
    assert {"a:1": "python"} == checked_images({"a:1": "python"})
    bad: list[dict[Any, Any]] = [{"a": 1}, {"a": ""}, {1: "python"}]
    for given in bad:
        with pytest.raises(Refused, match=r"^Languages\.images.*must be a language"):
            checked_images(given)
