"""Files are written whole or not at all."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import files
from common.errors import Problem, nearest
from common.files import alone, write_atomic

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_json_comes_back(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.mktemp("json") / "a" / "value.json"
    files.write_json(path, value)
    assert files.read_json(path) == value


def test_json_has_sorted_keys_and_ends_with_a_newline(tmp_path: Path) -> None:
    files.write_json(tmp_path / "x", {"b": 1, "a": 2})
    assert (tmp_path / "x").read_text() == '{\n "a": 2,\n "b": 1\n}\n'


@pytest.mark.parametrize("call", ["replace", "fsync", "chmod"])
def test_a_failed_write_leaves_the_old_content_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "x"
    files.write_atomic(path, "old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(Problem, match=r"Cannot write .*No space left on device.*untouched.*Free space"):
        files.write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_killed_before_the_rename_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "x"
    files.write_atomic(path, "old")
    child = os.fork()
    if not child:
        os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
        files.write_atomic(path, "new")
        os._exit(0)
    os.waitpid(child, 0)
    assert path.read_text() == "old"


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("mine")
    with pytest.raises(Problem, match="Cannot write"):
        files.write_atomic(tmp_path / "x" / "y", "new")
    assert (tmp_path / "x").read_text() == "mine"


@pytest.mark.parametrize("content", [b"", b'{"a": ', b"\xff\xfe", b"\x00\x00"])
def test_json_cut_short_is_a_problem(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(Problem, match=r"is damaged .*Move it away"):
        files.read_json(tmp_path / "x")


def test_digests(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert files.sha256_file(tmp_path / "x") == files.sha256_bytes(b"abc") == known


@given(st.text(max_size=12), st.lists(st.text(min_size=1, max_size=12), max_size=6))
def test_nearest_is_one_of_the_allowed_or_nothing(word: str, allowed: list[str]) -> None:
    said = nearest(word, allowed)
    assert said == "" or any(said == f" Did you mean '{name}'?" for name in allowed)
    if word in allowed:
        assert said == f" Did you mean '{word}'?"


def test_problem_keeps_its_sentences() -> None:
    assert Problem("One.", "Two.").messages == ["One.", "Two."]
    assert str(Problem("One.", "Two.")) == "One.\nTwo."


def test_only_one_process_at_a_time_is_alone_with_a_folder(tmp_path: Path) -> None:
    folder, order = tmp_path / "made" / "here", tmp_path / "order"
    script = (
        "import sys, time; from pathlib import Path; from common.files import alone\n"
        "with alone(Path(sys.argv[1])):\n"
        "    with open(sys.argv[2], 'a') as file:\n"
        "        for word in ('in', 'out'):\n"
        "            print(word, file=file, flush=True); time.sleep(0.2)\n"
    )
    started = [subprocess.Popen([sys.executable, "-c", script, str(folder), str(order)]) for _ in range(3)]
    assert [process.wait(60) for process in started] == [0, 0, 0]
    assert order.read_text().split() == ["in", "out"] * 3


def test_a_folder_that_cannot_be_made_is_left_to_what_is_written_in_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with alone(tmp_path / "file" / "folder"), pytest.raises(Problem, match="Cannot write"):
        write_atomic(tmp_path / "file" / "folder" / "table", "")
