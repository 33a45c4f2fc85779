"""slurm/devcluster refuses in plain words and makes nothing by it; these tests start no cluster and need none of its packages."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "slurm" / "devcluster"
VERBS = ("up", "down", "status", "env", "help", "node-down", "node-up", "ctl-down", "ctl-restart")
# What the script itself needs before it can say what is missing.
TOOLS = ("bash", "realpath", "cat", "ls")

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)) or not Path("/proc/self").exists(), reason="needs bash and Linux"
)


def devcluster(folder, *arguments, path=None):
    """The finished process of one call of the script, with its folder at `folder`."""
    environment = {"PATH": path or os.environ["PATH"], "DEVCLUSTER_DIR": str(folder)}
    command = [shutil.which("bash"), str(SCRIPT), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def bare_path(tmp_path):
    """A PATH with the few tools that the script cannot do without, and nothing of SLURM."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(shutil.which(tool))
    return str(folder)


def test_the_script_parses_and_is_executable():
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    assert os.access(SCRIPT, os.X_OK)


@pytest.mark.parametrize("arguments", [(), ("help",), ("--help",)])
def test_help_is_the_default_and_names_every_verb(tmp_path, arguments):
    done = devcluster(tmp_path / "c", *arguments)
    assert done.returncode == 0
    named = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert named == set(VERBS)
    assert str(tmp_path / "c") in done.stdout


@pytest.mark.parametrize("verb", ["start", "node-foo", "UP"])
def test_an_unknown_verb_is_refused_with_the_list_of_verbs(tmp_path, verb):
    done = devcluster(tmp_path / "c", verb)
    assert done.returncode != 0
    assert done.stdout == ""
    assert f'no verb "{verb}"' in done.stderr
    assert all(f"  {known} " in done.stderr for known in VERBS)


def test_up_without_packages_names_the_line_to_type_and_makes_nothing(tmp_path, bare_path):
    done = devcluster(tmp_path / "c", "up", path=bare_path)
    assert done.returncode != 0
    assert "apt-get install -y slurm-wlm munge slurmdbd mariadb-server" in done.stderr
    assert all(command in done.stderr for command in ("slurmctld", "slurmd", "munged", "mariadbd", "unshare"))
    assert not (tmp_path / "c").exists()


def test_up_says_all_that_is_missing_at_once(tmp_path, bare_path):
    done = devcluster(tmp_path / ("long name " * 10), "up", path=bare_path)
    assert done.returncode != 0
    assert "apt-get install" in done.stderr
    assert "too long for a socket" in done.stderr
    assert "a character that slurm.conf does not take" in done.stderr
    assert ("must run as root" in done.stderr) == (os.geteuid() != 0)


def test_a_folder_that_it_did_not_make_is_neither_used_nor_removed(tmp_path, bare_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    refused = devcluster(mine, "up", path=bare_path)
    assert refused.returncode != 0
    assert ("was not made by devcluster" in refused.stderr) == (os.geteuid() == 0)
    assert devcluster(mine, "down").returncode == 0
    assert (mine / "thesis.tex").read_text() == "years of work"


def test_where_nothing_is_up_down_succeeds_and_status_fails(tmp_path):
    down, status = devcluster(tmp_path / "c", "down"), devcluster(tmp_path / "c", "status")
    assert (down.returncode, status.returncode) == (0, 1)
    assert "not up" in down.stdout
    assert "not up" in status.stdout
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("verb", ["node-down", "node-up", "ctl-down", "ctl-restart"])
def test_where_nothing_is_up_the_verbs_that_break_things_say_so(tmp_path, verb):
    done = devcluster(tmp_path / "c", verb, "n1")
    assert done.returncode != 0
    assert "not up" in done.stderr


def test_env_is_one_line_that_a_shell_takes(tmp_path):
    folder = tmp_path / "with a space"
    line = devcluster(folder, "env").stdout
    assert line.count("\n") == 1
    shown = subprocess.run(["bash", "-c", f'{line}printf %s "$SLURM_CONF"'], capture_output=True, text=True, check=True)
    assert shown.stdout == str(folder / "slurm.conf")


def test_down_never_kills_a_process_that_took_over_the_number_in_a_pid_file(tmp_path):
    folder = tmp_path / "c"
    (folder / "pid").mkdir(parents=True)
    (folder / "made-by-devcluster").touch()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (folder / "pid" / "munged").write_text(f"{stranger.pid}\n")
        done = devcluster(folder, "down")
        assert done.returncode == 0, done.stderr
        assert stranger.poll() is None
        stranger.kill()
    assert not folder.exists()
