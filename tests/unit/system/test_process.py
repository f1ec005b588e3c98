"""Programs that end with their children, and temporary folders that are gone afterwards."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from one_neuron.system.process import run_program, temporary_folder


def _is_alive(number: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return "Z" not in Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_the_exit_code_and_the_errors_of_a_program(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It runs in the folder and the environment that are named, and its output is dropped."""
    command = ["/bin/sh", "-c", 'echo output; echo "$WORD" >file; echo error >&2; exit 7']
    assert run_program(command, tmp_path, {"WORD": "hello"}) == 7
    assert (tmp_path / "file").read_text() == "hello\n"
    assert capfd.readouterr() == ("", "error\n")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
@pytest.mark.parametrize("ignored", ["", "trap '' TERM; "], ids=["ends", "ignores SIGTERM"])
def test_an_interrupted_program_ends_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ignored: str
) -> None:
    """Before the exception of Ctrl-C continues, and even those that ignore SIGTERM."""
    monkeypatch.setattr("one_neuron.system.process._END_SECONDS", 0.3)

    def interrupt() -> None:
        while not (tmp_path / "ready").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    script = f"{ignored}sleep 60 & echo $! $$ >pids; touch ready; wait; sleep 60"
    with pytest.raises(KeyboardInterrupt):
        run_program(["/bin/sh", "-c", script], tmp_path, dict(os.environ))
    thread.join()
    numbers = [int(word) for word in (tmp_path / "pids").read_text().split()]
    assert len(numbers) == 2
    assert not any(map(_is_alive, numbers))


def test_a_temporary_folder_is_gone_after_an_error() -> None:
    """With what is in it, read-only files included."""

    def work() -> None:
        with temporary_folder("one-neuron-test-") as folder:
            folders.append(folder)
            (folder / "deep").mkdir()
            (folder / "deep/file").touch(mode=0o400)
            raise KeyboardInterrupt

    folders: list[Path] = []
    with pytest.raises(KeyboardInterrupt):
        work()
    assert not folders[0].exists()
