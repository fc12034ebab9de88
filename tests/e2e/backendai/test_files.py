"""Files of a session: upload, listing and download, and what is refused of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.backendai.client import RefusedError
from tests.e2e.backendai.raw import begun_upload, upload

if TYPE_CHECKING:
    from tests.e2e.backendai.client import Session
    from tests.e2e.backendai.conftest import Gateway
    from tests.e2e.backendai.raw import Raw

MIB = 2**20
BAD = (400, "invalid-api-params")

FILES = {
    "plain.txt": b"text\n",
    "sub/deep/b ü.bin": bytes(range(256)) * 100,
    "größe/ä ö ü ß.txt": "Grüße".encode(),
    "100%.txt": b"a percent sign",
    "plus+and space.txt": b"",
}


def written(folder: Path) -> list[Path]:
    paths = [folder / name for name in FILES]
    for path, content in zip(paths, FILES.values(), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return paths


def listing(session: Session, path: str = ".") -> dict[str, dict[str, object]]:
    told = session.call("list_files", path)
    assert "" == told["errors"]
    return {entry["filename"]: entry for entry in json.loads(told["files"])}


def test_files_come_back_as_they_went(emptied: Session, tmp_path: Path) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    paths = [str(path) for path in written(there)]
    assert 204 == emptied.call("upload", paths, basedir=str(there))["status"]
    found = emptied.run(
        "import os\nfor top, _, names in os.walk('.'):\n"
        "    for name in names: print(os.path.relpath(os.path.join(top, name)))"
    )
    assert sorted(FILES) == sorted(found.text().splitlines())
    back.mkdir()
    told = emptied.call("download", list(FILES), dest=str(back))
    names = [Path(name).name for name in FILES]  # as the original: of each its last part
    assert sorted(names) == sorted(told["file_names"])
    assert list(FILES.values()) == [(back / name).read_bytes() for name in names]


def test_a_listing_tells_each_entry_of_a_folder(emptied: Session, tmp_path: Path) -> None:
    emptied.call("upload", [str(path) for path in written(tmp_path)], basedir=str(tmp_path))
    entries = listing(emptied)
    assert {"plain.txt", "sub", "größe", "100%.txt", "plus+and space.txt"} == set(entries)
    assert {"mode", "size", "ctime", "mtime", "atime", "filename"} <= set(entries["plain.txt"])
    assert 5 == entries["plain.txt"]["size"]
    assert str(entries["sub"]["mode"]).startswith("d")
    assert str(entries["plain.txt"]["mode"]).startswith("-")
    assert ["ä ö ü ß.txt"] == list(listing(emptied, "größe"))
    assert ["b ü.bin"] == list(listing(emptied, "sub/deep"))


def test_home_work_means_the_folder_of_the_session(emptied: Session, tmp_path: Path) -> None:
    emptied.call("upload", [str(path) for path in written(tmp_path)], basedir=str(tmp_path))
    assert listing(emptied) == listing(emptied, "/home/work")
    assert ["b ü.bin"] == list(listing(emptied, "/home/work/sub/deep"))
    emptied.call("download", ["/home/work/plain.txt"], dest=str(tmp_path / "back"))
    assert [b"text\n"] == [path.read_bytes() for path in (tmp_path / "back").rglob("plain.txt")]


def test_a_folder_comes_whole(emptied: Session, tmp_path: Path) -> None:
    emptied.call("upload", [str(path) for path in written(tmp_path)], basedir=str(tmp_path))
    emptied.call("download", ["sub"], dest=str(tmp_path / "back"))
    name = "sub/deep/b ü.bin"
    assert FILES[name] == (tmp_path / "back" / name).read_bytes()


def test_an_upload_takes_the_place_of_what_was_there(emptied: Session, tmp_path: Path) -> None:
    file = tmp_path / "one.txt"
    for text in ("long before", "new"):
        file.write_text(text)
        emptied.call("upload", [str(file)], basedir=str(tmp_path))
    assert "new" == emptied.value("open('one.txt').read()")


def test_a_file_that_is_not_there_cannot_be_fetched(emptied: Session, tmp_path: Path) -> None:
    with pytest.raises(RefusedError) as refused:
        emptied.call("download", ["missing.txt"], dest=str(tmp_path))
    assert refused.value.status in {400, 404}


def test_both_calls_take_query_parameters_as_well_as_a_body(raw: Raw, emptied: Session) -> None:
    emptied.write(a_txt="A")
    asked = raw.call("GET", f"/session/{emptied.name}/files?path=.")
    assert ["a.txt"] == [entry["filename"] for entry in json.loads(asked.json["files"])]
    fetched = raw.call("GET", f"/session/{emptied.name}/download?files=a.txt")
    assert 200 == fetched.status
    assert fetched.headers["content-type"].startswith("multipart/mixed")


# -- refused


@pytest.mark.parametrize(
    "bad",
    [
        "../evil",
        "..%2Fevil",
        "sub%2F..%2F..%2Fevil",
        "%2Ftmp%2Fevil",
        "/tmp/evil",
        "%2Fhome%2Fwork%2F..%2F..%2F..%2Fevil",
        "..%2F..%2F..%2F..%2F..%2F..%2Ftmp%2Fevil",
        "link%2Fevil",
        "evil%00.txt",
        "..",
        ".",
        "",
    ],
)
def test_no_name_leads_out_of_the_folder(
    raw: Raw, emptied: Session, gateway: Gateway, tmp_path: Path, bad: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    emptied.run(f"import os; os.symlink({str(outside)!r}, 'link')")
    folder = emptied.value("os.getcwd()")
    answer = upload(raw, emptied.name, (bad, b"evil"))
    assert answer.status == 204 or 400 <= answer.status < 500, answer
    assert [] == list(outside.iterdir())
    data = gateway.server.data_dir
    found = [str(path) for path in data.parent.rglob("*evil*")]
    assert [] == [path for path in found if not path.startswith(folder + "/")]
    assert "1" == emptied.value("1"), "the session is none the worse"


@pytest.mark.parametrize("path", ["..", "/", "/etc", "sub/../..", "link", "/home/work/../.."])
def test_no_path_leads_out_of_the_folder(
    raw: Raw, emptied: Session, tmp_path: Path, path: str
) -> None:
    (tmp_path / "secret.txt").write_text("what is outside")
    emptied.run(f"import os; os.symlink({str(tmp_path)!r}, 'link')")
    for asked in (
        raw.call("GET", f"/session/{emptied.name}/files", {"path": path}),
        raw.call("GET", f"/session/{emptied.name}/download", {"files": [path]}),
        raw.call("GET", f"/session/{emptied.name}/download", {"files": [f"{path}/secret.txt"]}),
    ):
        assert b"what is outside" not in asked.body
        assert b"secret.txt" not in asked.body or 400 <= asked.status < 500
        assert asked.status in {200, 400, 404}
        if path != "link":
            assert asked.status in {400, 404}


def test_twenty_files_are_taken_and_one_more_is_not(raw: Raw, emptied: Session) -> None:
    files = [(f"f{n}", b"x") for n in range(21)]
    assert BAD == upload(raw, emptied.name, *files).kind
    assert {} == listing(emptied)
    assert 204 == upload(raw, emptied.name, *files[:20]).status
    assert 20 == len(listing(emptied))


def test_a_file_of_more_than_a_mebibyte_is_refused(raw: Raw, emptied: Session) -> None:
    assert BAD == upload(raw, emptied.name, ("ok", b"x"), ("big", bytes(MIB + 1))).kind
    assert {} == listing(emptied)
    assert 204 == upload(raw, emptied.name, ("just.bin", bytes(MIB - 1))).status
    assert MIB - 1 == listing(emptied)["just.bin"]["size"]


def test_a_hundred_megabytes_are_refused_before_they_are_read(raw: Raw, emptied: Session) -> None:
    assert BAD == begun_upload(raw, emptied.name, 100 * MIB).kind
    assert {} == listing(emptied)


def test_twenty_one_files_of_the_real_client_are_refused_so_that_it_says_why(
    emptied: Session, tmp_path: Path
) -> None:
    for n in range(21):
        (tmp_path / f"f{n}").write_text("x")
    with pytest.raises(RefusedError) as refused:
        emptied.call("upload", [str(tmp_path / f"f{n}") for n in range(21)], basedir=str(tmp_path))
    assert BAD == (refused.value.status, refused.value.kind)


def test_six_files_at_a_time_are_too_many_to_fetch(emptied: Session, tmp_path: Path) -> None:
    emptied.run("for n in range(6): _ = open(f'f{n}', 'w').write('x')")
    with pytest.raises(RefusedError) as refused:
        emptied.call("download", [f"f{n}" for n in range(6)], dest=str(tmp_path))
    assert BAD == (refused.value.status, refused.value.kind)
    emptied.call("download", [f"f{n}" for n in range(5)], dest=str(tmp_path))
    assert 5 == len(list(tmp_path.glob("f*")))
