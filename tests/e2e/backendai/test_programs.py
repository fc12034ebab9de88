"""Programs of many languages that ask for input in a step of a batch run.

Each asks twice with a prompt that ends in no newline, and prints what it was told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.e2e.backendai.client import merged_text, plain
from tests.shared.programs import needs

if TYPE_CHECKING:
    from tests.e2e.backendai.client import Session


class Program(NamedTuple):
    file: str
    source: str
    build: str
    exec: str


PROGRAMS = {
    "c": Program(
        "main.c",
        r"""
#include <stdio.h>
int main(void) {
    char name[50]; int age;
    printf("Name? "); fflush(stdout); scanf("%49s", name);
    printf("Age? "); scanf("%d", &age);
    printf("%s is %d\n", name, age);
    return 0;
}
""",
        "gcc -o main main.c",
        "./main",
    ),
    "c++": Program(
        "main.cpp",
        r"""
#include <iostream>
#include <string>
int main() {
    std::string name; int age;
    std::cout << "Name? "; std::cin >> name;
    std::cout << "Age? "; std::cin >> age;
    std::cout << name << " is " << age << "\n";
}
""",
        "g++ -o main main.cpp",
        "./main",
    ),
    "python": Program(
        "main.py",
        'print(input("Name? "), "is", int(input("Age? ")))\n',
        "",
        "python3 main.py",
    ),
    "bash": Program(
        "main.sh",
        'printf "Name? "; read name\nread -p "Age? " age\necho "$name is $age"\n',
        "",
        "bash main.sh",
    ),
    "node": Program(
        "main.js",
        r"""
const ask = require("readline").createInterface({ input: process.stdin, output: process.stdout });
ask.question("Name? ", name => ask.question("Age? ", age => {
    console.log(name + " is " + age);
    ask.close();
}));
""",
        "",
        "node main.js",
    ),
    "java": Program(
        "Main.java",
        r"""
import java.util.Scanner;
public class Main {
    public static void main(String[] args) {
        Scanner in = new Scanner(System.in);
        System.out.print("Name? "); String name = in.nextLine();
        System.out.print("Age? "); int age = in.nextInt();
        System.out.println(name + " is " + age);
    }
}
""",
        "javac Main.java",
        "java Main",
    ),
}


@pytest.mark.parametrize("language", PROGRAMS)
def test_a_program_that_asks_is_answered(session: Session, language: str) -> None:
    file, source, build, execute = PROGRAMS[language]
    for command in (build, execute):
        if command and not command.startswith("./"):
            needs(command.split()[0])
    session.batch(exec=f"cat > {file} <<'END'\n{source}END").to_the_end()
    talk = session.batch(build=build, exec=execute)
    talk.to_the_prompt()
    assert [("clean-finished", 0), ("build-finished", 0)] == talk.phases, talk.answers
    assert not talk.is_password
    assert plain(merged_text(talk.answers)).endswith("Name? ")
    talk.give("Ada").to_the_prompt()
    talk.give("36").to_the_end()
    assert 0 == talk.exit_code
    assert "Ada is 36\n" in plain(talk.text())
    asked = plain(merged_text(talk.answers))
    assert (1, 1) == (asked.count("Name? "), asked.count("Age? ")), asked


@pytest.mark.parametrize(
    "command",
    [
        "python3 -c 'from getpass import getpass; print(len(getpass(\"PIN: \")))'",
        "bash -c 'read -s -p \"PIN: \" pin; echo ${#pin}'",
    ],
    ids=["getpass", "read -s"],
)
def test_a_password_is_asked_for_as_such(session: Session, command: str) -> None:
    talk = session.batch(exec=command)
    talk.to_the_prompt()
    assert talk.is_password
    talk.give("geheim").to_the_end()
    assert (0, True) == (talk.exit_code, talk.text().endswith("6\n"))
    assert "geheim" not in talk.text() + talk.text("stderr"), "what is typed is not shown"


def test_what_is_typed_is_not_shown_again(session: Session) -> None:
    talk = session.batch(exec="read -r line; echo done")
    talk.to_the_prompt()
    talk.give("not to be seen").to_the_end()
    assert "done\n" == talk.text()
    assert "" == talk.text("stderr")


def test_a_build_may_ask_too(session: Session) -> None:
    talk = session.batch(build="read -r word; echo built $word", exec="echo ran")
    talk.to_the_prompt()
    assert ["clean-finished"] == [status for status, _ in talk.phases]
    talk.give("well").to_the_end()
    assert ("built well\n", "ran\n") == (talk.text_of("build-finished"), talk.text_of("finished"))
