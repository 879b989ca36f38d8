"""One container from create to delete, and everything that can go wrong on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.microvm.conftest import PREFIX, REPOSITORY, Bundler, Runtime


def test_create_start_exec_kill_delete(runtime: Runtime, bundle: Bundler) -> None:
    made = bundle("sh", "-c", "echo to out; echo to err >&2; exec sleep 1000")
    runtime.create(made, "c1")
    state = runtime.state("c1")
    assert state["status"] == "created"
    assert state["pid"] == int((made / "pid").read_text())
    assert state["bundle"] == str(made)
    assert (made / "out").read_text() == ""

    runtime("start", "c1")
    done = runtime.exec("c1", "cat; echo answer; echo fault >&2; exit 7", input="question\n", check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("question\nanswer\n", "fault\n", 7)
    assert (made / "out").read_text() == "to out\n"
    assert (made / "err").read_text() == "to err\n"
    assert runtime.state("c1")["status"] == "running"
    assert "c1" in runtime("list", "-q").stdout.split()
    assert state["pid"] in json.loads(runtime("ps", "-f", "json", "c1").stdout)
    assert "running" in runtime("start", "c1", check=False).stderr
    assert "not stopped" in runtime("delete", "c1", check=False).stderr

    runtime("kill", "c1", "KILL")
    runtime.wait_for("c1", "stopped")
    refused = runtime("kill", "c1", "TERM", check=False)
    assert refused.returncode == 1
    assert "container not running" in refused.stderr
    assert runtime("kill", "--all", "c1", "KILL").returncode == 0
    runtime("delete", "c1")
    gone = runtime("state", "c1", check=False)
    assert gone.returncode == 1
    assert "container does not exist" in gone.stderr
    assert "container does not exist" in runtime("delete", "c1", check=False).stderr
    assert runtime("delete", "--force", "c1").returncode == 0


def test_exit_code_and_output_of_run(runtime: Runtime, bundle: Bundler) -> None:
    made = bundle("sh", "-c", "cat; echo end >&2; exit 42")
    done = runtime("run", "--bundle", str(made), "r1", input="in\n", check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("in\n", "end\n", 42)
    assert not (runtime.root / "r1").exists()


def test_what_the_process_sees(runtime: Runtime, bundle: Bundler) -> None:
    (bundle("true").parent / "secret").write_text("from the host\n")
    made = bundle(
        mounts=[
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
            {"destination": "/etc/secret", "type": "bind", "source": "../secret", "options": ["ro", "rbind"]},
        ],
        process={
            "args": ["sleep", "1000"],
            "env": ["PATH=/bin", "A=b"],
            "cwd": "/work",
            "user": {"uid": 7, "gid": 8, "additionalGids": [9]},
            "capabilities": {"bounding": ["CAP_KILL"]},
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 88}],
            "noNewPrivileges": True,
        },
        linux={"maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"], "resources": {"pids": {"limit": 9}}},
    )
    runtime.up(made, "see")
    script = (
        "id; hostname; echo $A; pwd; cat /etc/secret; ulimit -n; grep -E 'CapBnd|NoNewPrivs' /proc/self/status;"
        "ps | head -3; ls -d /modules /init /container; wc -c < /proc/kcore; echo 1 > /proc/sys/net/ipv4/ip_forward;"
        "ls /; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done"
    )
    done = runtime.exec("see", script, check=False)
    lines = done.stdout.splitlines()
    assert lines[0] == "uid=7 gid=8 groups=9"
    assert lines[1:5] == ["guest", "b", "/work", "from the host"]
    assert lines[5] == "77"
    assert "CapBnd:\t0000000000000020" in lines
    assert "NoNewPrivs:\t1" in lines
    assert any(line.split()[0] == "1" and "sleep 1000" in line for line in lines if line.strip())
    assert "/modules: No such file" in done.stderr
    assert "ip_forward: " in done.stderr
    assert "can't fork" in done.stderr
    assert "modules" not in lines


def test_no_way_out_of_the_root(runtime: Runtime, bundle: Bundler) -> None:
    """Even with the right to change its root the process stays in it."""
    made = bundle(capabilities=["CAP_SYS_CHROOT", "CAP_SYS_ADMIN"])
    runtime.up(made, "escape")
    done = runtime.exec("escape", "cd /; mkdir -p x; chroot x true; cd ../../..; ls; ls /proc/1/root/", check=False)
    assert "modules" not in done.stdout
    assert "bin" in done.stdout


def test_capabilities_are_kept_small(runtime: Runtime, bundle: Bundler) -> None:
    runtime.up(bundle(capabilities=["CAP_KILL"]), "cap")
    assert runtime.exec("cap", "ip link add d0 type dummy", check=False).returncode != 0


def test_much_data_both_ways(runtime: Runtime, bundle: Bundler, tmp_path: Path) -> None:
    runtime.up(bundle(), "bulk")
    data = os.urandom(3_000_000)
    done = subprocess.run(
        runtime.argv("exec", "bulk", "cat"), input=data, stdout=subprocess.PIPE, cwd=REPOSITORY, timeout=60, check=True
    )
    assert done.stdout == data


def test_a_reader_that_is_slow_or_gone_holds_up_nobody(runtime: Runtime, bundle: Bundler) -> None:
    runtime.up(bundle(), "slow")
    stuck = subprocess.Popen(runtime.argv("exec", "slow", "yes"), stdout=subprocess.PIPE, cwd=REPOSITORY)
    try:
        assert stuck.stdout
        assert stuck.stdout.read(4) == b"y\ny\n"
        time.sleep(0.5)
        assert runtime.exec("slow", "echo alive").stdout == "alive\n"
        stuck.stdout.close()
        # the writer in the guest is told by SIGPIPE
        assert stuck.wait(20) == 128 + signal.SIGPIPE
    finally:
        stuck.kill()
        stuck.wait()


def test_signals_reach_the_process(runtime: Runtime, bundle: Bundler) -> None:
    made = bundle("sh", "-c", "trap 'echo got; exit 5' TERM; echo up; while :; do sleep 0.1; done")
    runtime.create(made, "sig")
    runtime("start", "sig")
    end = time.monotonic() + 10
    while (made / "out").read_text() != "up\n" and time.monotonic() < end:
        time.sleep(0.05)
    runtime("kill", "sig", "SIGTERM")
    assert runtime.wait_for("sig", "stopped")["vnfm"]["exitCode"] == 5
    assert (made / "out").read_text() == "up\ngot\n"


def test_signals_to_an_exec_and_its_end_with_its_client(runtime: Runtime, bundle: Bundler) -> None:
    runtime.up(bundle(), "es")
    child = subprocess.Popen(runtime.argv("exec", "es", "sleep", "321"), cwd=REPOSITORY)
    _until(runtime, "es", "sleep 321")
    child.terminate()
    assert child.wait(10) == 128 + signal.SIGTERM
    child = subprocess.Popen(runtime.argv("exec", "es", "sleep", "654"), cwd=REPOSITORY)
    _until(runtime, "es", "sleep 654")
    child.kill()
    child.wait()
    end = time.monotonic() + 10
    while "sleep 654" in runtime("exec", "es", "ps").stdout:
        assert time.monotonic() < end


def _until(runtime: Runtime, name: str, words: str) -> None:
    end = time.monotonic() + 10
    while words not in runtime("exec", name, "ps").stdout:
        assert time.monotonic() < end


def test_detached_exec_is_a_process_to_track(runtime: Runtime, bundle: Bundler, tmp_path: Path) -> None:
    runtime.up(bundle(), "det")
    spec = tmp_path / "process.json"
    spec.write_text(
        json.dumps({"args": ["sh", "-c", "echo $X; sleep 0.5; exit 3"], "env": ["PATH=/bin", "X=yes"], "cwd": "/"})
    )
    with open(tmp_path / "det.out", "wb") as out:
        subprocess.run(
            runtime.argv("exec", "--process", str(spec), "-d", "--pid-file", str(tmp_path / "det.pid"), "det"),
            stdout=out,
            stdin=subprocess.DEVNULL,
            cwd=REPOSITORY,
            check=True,
            timeout=30,
        )
    pid = int((tmp_path / "det.pid").read_text())
    watched = os.pidfd_open(pid)
    os.close(watched)
    end = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < end
        time.sleep(0.05)
    assert (tmp_path / "det.out").read_text() == "yes\n"


def test_a_command_that_is_not_there(runtime: Runtime, bundle: Bundler) -> None:
    runtime.create(bundle("nonsense"), "bad")
    refused = runtime("start", "bad", check=False)
    assert refused.returncode == 1
    assert "starting nonsense: No such file or directory" in refused.stderr
    runtime("delete", "--force", "bad")
    runtime.up(bundle(), "good")
    done = runtime("exec", "good", "nonsense", check=False)
    assert done.returncode != 0
    assert "nonsense" in done.stderr


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"annotations": {"io.katacontainers.config.hypervisor.default_memory": "many"}}, "default_memory"),
        ({"sysctl": {"net.ipv4.nothing": "1"}}, "net/ipv4/nothing"),
        ({"netns": f"{PREFIX}nowhere"}, "nowhere"),
        ({"annotations": {"io.katacontainers.config.hypervisor.kernel_params": "rdinit=/nothing"}}, "qemu ended"),
    ],
)
def test_a_bundle_that_cannot_be_leaves_nothing(
    runtime: Runtime, bundle: Bundler, changes: dict[str, object], words: str
) -> None:
    done = runtime.create(bundle(**changes), "no", check=False)
    assert done.returncode == 1
    assert words in done.stderr
    assert not (runtime.root / "no").exists()


def test_failures_are_logged_as_runc_does(runtime: Runtime, tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    done = runtime("--log", str(log), "--log-format", "json", "start", "nobody", check=False)
    assert done.returncode == 1
    entry = json.loads(log.read_text())
    assert entry["level"] == "error"
    assert "container does not exist" in entry["msg"]


def test_the_same_name_twice(runtime: Runtime, bundle: Bundler) -> None:
    runtime.create(bundle(), "twin")
    again = runtime.create(bundle(), "twin", check=False)
    assert again.returncode == 1
    assert "container with id exists" in again.stderr
    assert runtime.state("twin")["status"] == "created"


def test_size_and_kernel_parameters_by_annotation(runtime: Runtime, bundle: Bundler) -> None:
    prefix = "io.katacontainers.config.hypervisor."
    wanted = {"default_memory": "256", "default_vcpus": "2", "kernel_params": "vnfm.word=yes"}
    runtime.up(bundle(annotations={prefix + name: value for name, value in wanted.items()}), "big")
    done = runtime.exec("big", "cat /proc/cmdline; grep MemTotal /proc/meminfo; grep -c ^processor /proc/cpuinfo")
    command_line, memory, processors = done.stdout.splitlines()
    assert command_line.endswith("vnfm.word=yes")
    assert int(memory.split()[1]) > 200_000
    assert processors == "2"
    assert runtime.state("big")["vnfm"]["cloned"]


def test_limits_are_in_the_control_group(runtime: Runtime, bundle: Bundler) -> None:
    from plugins.microvm import cgroup

    resources = {
        "memory": {"limit": 192 << 20},
        "cpu": {"quota": 80000, "period": 100000, "shares": 512},
        "pids": {"limit": 40},
    }
    runtime.up(bundle(resources=resources), "lim")
    state = runtime.state("lim")
    groups = Path(f"/proc/{state['vnfm']['guestPid']}/cgroup").read_text().splitlines()
    inside = f"/{PREFIX}/nested/c1"
    values = {}
    for hierarchy in cgroup.hierarchies(Path("/proc/self/mountinfo").read_text()):
        names = hierarchy.controllers or {""}
        assert any(line.endswith(inside) and names & set(line.split(":")[1].split(",")) for line in groups)
        for name in ("memory.limit_in_bytes", "cpu.cfs_quota_us", "cpu.shares", "pids.max", "memory.max", "cpu.max"):
            file = hierarchy.mountpoint / inside.lstrip("/") / name
            if file.exists():
                values[name] = file.read_text().strip()
    assert values["pids.max"] == str(40 + cgroup.PIDS_OVERHEAD)
    assert values.get("memory.limit_in_bytes", values.get("memory.max")) == str((192 << 20) + cgroup.MEMORY_OVERHEAD)
    assert values.get("cpu.cfs_quota_us", "80000") == "80000"


def test_a_full_disk_is_told_and_kills_nobody(runtime: Runtime, bundle: Bundler) -> None:
    runtime.up(bundle(resources={"memory": {"limit": 128 << 20}}), "full")
    done = runtime.exec("full", "dd if=/dev/zero of=/fill bs=1M count=300", check=False)
    assert "No space left on device" in done.stderr
    assert runtime.exec("full", "rm -f /fill; echo alive").stdout == "alive\n"


@pytest.mark.parametrize("victim", ["relay", "qemu"])
def test_kill_9_leaves_a_stopped_container_that_can_be_deleted(runtime: Runtime, bundle: Bundler, victim: str) -> None:
    runtime.up(bundle(), "hit")
    state = runtime.state("hit")
    relay, qemu = state["pid"], state["vnfm"]["guestPid"]
    os.kill(relay if victim == "relay" else qemu, signal.SIGKILL)
    stopped = runtime.wait_for("hit", "stopped")
    end = time.monotonic() + 5
    while Path(f"/proc/{qemu}").exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not Path(f"/proc/{qemu}").exists()
    assert ("killed by signal 9" if victim == "qemu" else "relay was killed") in stopped["vnfm"]["reason"]
    if victim == "qemu":
        assert stopped["vnfm"]["exitCode"] == 137
    runtime("delete", "hit")


def test_kill_9_of_create_leaves_no_guest(runtime: Runtime, bundle: Bundler) -> None:
    made = bundle()
    runtime.known.append("torn")
    command = runtime.argv("create", "--bundle", str(made), "--pid-file", str(made / "pid"), "torn")
    creator = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=REPOSITORY)
    end = time.monotonic() + 20
    while not (runtime.root / "torn" / "qemu.log").exists() and time.monotonic() < end:
        time.sleep(0.01)
    creator.kill()
    creator.wait()
    runtime.wait_for("torn", "stopped")
    runtime("delete", "torn")


def test_a_hanging_guest_obeys_sigkill(runtime: Runtime, bundle: Bundler) -> None:
    runtime.up(bundle(), "hang")
    os.kill(runtime.state("hang")["vnfm"]["guestPid"], signal.SIGSTOP)
    runtime("kill", "hang", "KILL", check=False)
    assert runtime.wait_for("hang", "stopped")["vnfm"]["exitCode"] in (137, None)
    runtime("delete", "hang")


def test_two_at_once_from_an_empty_cache(runtime: Runtime, bundle: Bundler, tmp_path: Path) -> None:
    runtime.cache = tmp_path / "fresh"
    made = [bundle(), bundle()]
    runtime.known += ["p0", "p1"]
    creators = []
    for number, folder in enumerate(made):
        with open(folder / "out", "wb") as out, open(folder / "err", "wb") as err:
            command = runtime.argv("create", "--bundle", str(folder), "--pid-file", str(folder / "pid"), f"p{number}")
            creators.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=REPOSITORY))
    assert [creator.wait(120) for creator in creators] == [0, 0]
    assert len(list((runtime.cache / "images").glob("*.cpio"))) == 1
    assert not list(runtime.cache.rglob(".making*"))
