"""compose.yaml as processes of this machine, without containers, in one folder.

Commands, variables, jobs, their order and health checks are those of compose.yaml and docker/; there is no second list.
Hosts become 127.0.0.1, ports become free ones, paths move into the folder. Three images are replaced: PostgreSQL by the
one installed here (run as `nobody` if we are root, whom it refuses), the S3 store by moto, Prometheus by the one
installed here, if any. Alertmanager and Grafana are left out.
"""

import json
import os
import re
import resource
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from headstart import settings
from headstart.children import die_with_parent

INFRA = Path(__file__).parent
BIN = Path(sys.executable).parent
BUCKET = "headstart"
PORTS = ("5432", "9000", "5000", "4200", "8000", "8080", "9090")  # as compose.yaml has them; 8080: the worker's health
OURS = ("servers", "train", "serve")  # images, without `headstart-`
READY_S, STOP_S = 240.0, 20.0  # for all servers to start, for one process to stop
MARK = "HEADSTART_STACK"  # in every process's environment
URLOPEN = "from urllib.request import urlopen; urlopen('http://127.0.0.1:{}', timeout=4)"
INITDB = """
initdb -D data --username=headstart --pwfile=password --auth=scram-sha-256 --encoding=UTF8 --no-locale --no-sync
postgres --single -D data postgres < made.sql
"""
POSTGRES = ("initdb", "postgres")  # services that run its programs, in its folder
NO_SYNC = ["-c", "fsync=off", "-c", "full_page_writes=off"]  # nobody needs these data tomorrow


class MissingError(Exception):
    """This machine lacks something; the message says what to do."""


class BrokenError(Exception):
    """A server or a step did not do what it should."""


@dataclass(frozen=True)
class Service:
    """A server or a job.

    Attributes:
        check: the server's health check; None for a job, which is ready once it has ended with 0.
        needs: names of services that have to be ready before it starts.
        user: who runs it; we ourselves when left out.
        stop: the signal that ends it cleanly.
    """

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    check: list[str] | None = None
    needs: list[str] = field(default_factory=list)
    user: str | None = None
    stop: signal.Signals = signal.SIGTERM


class Stack:
    """Services in one folder: `config/`, `logs/`, `home/`, `workspace/`, `journal/`, `postgres/`, `prometheus/`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.user = "nobody" if os.geteuid() == 0 else None
        self.secrets: dict[str, str] = defaultdict(lambda: f"s{secrets.token_hex(16)}")
        self.secrets |= {"S3_BUCKET": BUCKET, "PREFECT_AUTH": f"stack:{secrets.token_hex(16)}"}
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        for folder in ("config", "logs", "home", "workspace", "journal", "postgres", "prometheus"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        self.services = self.read()
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.ready: set[str] = set()

    def read(self) -> dict[str, Service]:
        """Services whose images are ours, as compose.yaml has them, and what stands in for the others."""
        document = yaml.safe_load(self.adapted((INFRA / "compose.yaml").read_text()))
        for name, config in document["configs"].items():
            (self.root / "config" / name).write_text(config["content"])
        services = self.stand_ins(document["services"]["postgres"])
        for name, entry in document["services"].items():
            image = entry["image"].partition(":")[0].removeprefix("headstart-")
            if image not in OURS:
                continue
            command, check = self.image(image) if image != "servers" else ([], [])
            services[name] = Service(
                entry.get("command", command),
                {key: "" if value is None else str(value) for key, value in entry.get("environment", {}).items()},
                None if entry["restart"] == "no" else entry.get("healthcheck", {}).get("test", ["CMD", *check])[1:],
                list(entry.get("depends_on", {})),
            )
        return services

    def image(self, name: str) -> tuple[list[str], list[str]]:
        """What an image runs, and its health check."""
        text = self.adapted((INFRA / f"docker/{name}.Dockerfile").read_text())
        [check] = re.findall(r"^HEALTHCHECK --.*\\\n +CMD (\[.*\])$", text, re.M)
        command = re.findall(r"^(?:CMD|ENTRYPOINT) (\[.*\])$", text, re.M)[-1]
        return json.loads(command), json.loads(check)

    def stand_ins(self, postgres: dict[str, Any]) -> dict[str, Service]:
        """PostgreSQL, the S3 store and, if it is installed, Prometheus."""
        port, found = self.ports, {}
        folder = self.root / "postgres"
        folder.chmod(0o700)
        (folder / "password").write_text(postgres["environment"]["POSTGRES_PASSWORD"])
        (folder / "made.sql").write_text(f"CREATE DATABASE mlflow;\n{(self.root / 'config/databases').read_text()}")
        for path in (folder, folder / "password", folder / "made.sql"):
            if self.user:
                shutil.chown(path, self.user)
        found["initdb"] = Service(["sh", "-ec", INITDB], user=self.user)
        place = ["-D", "data", "-p", str(port["5432"]), "-k", "", "-c", "listen_addresses=127.0.0.1"]
        found["postgres"] = Service(
            ["postgres", *place, *NO_SYNC],
            {"PGPORT": str(port["5432"])},
            postgres["healthcheck"]["test"][1:],
            ["initdb"],
            self.user,
            signal.SIGINT,  # its fast shutdown
        )
        found["storage"] = Service(
            ["moto_server", "-H", "127.0.0.1", "-p", str(port["9000"])],
            check=["python", "-c", URLOPEN.format(f"{port['9000']}/moto-api/")],
        )
        if shutil.which("prometheus"):
            asked = yaml.safe_load(self.adapted((INFRA / "prometheus/prometheus.yml").read_text()))
            [job] = [one for one in asked["scrape_configs"] if one["job_name"] == "headstart"]
            del job["authorization"]  # the server has no API keys here
            asked["scrape_configs"] = [job]
            asked |= {"alerting": {}, "global": {"scrape_interval": "1s", "evaluation_interval": "1s"}}
            (self.root / "config/prometheus.yml").write_text(yaml.safe_dump(asked))
            shutil.copy(INFRA / "prometheus/alerts.yml", self.root / "config/alerts.yml")
            places = {"config.file": "config/prometheus.yml", "storage.tsdb.path": "prometheus"}
            found["prometheus"] = Service(
                [
                    "prometheus",
                    *(f"--{option}={self.root / path}" for option, path in places.items()),
                    f"--web.listen-address=127.0.0.1:{port['9090']}",
                ],
                check=["python", "-c", URLOPEN.format(f"{port['9090']}/-/ready")],
            )
        return found

    def adapted(self, text: str) -> str:
        """A file of infra/ with its variables filled in, and hosts, ports and paths as they are here."""

        def value(match: re.Match[str]) -> str:
            name, default = match.groups()
            return default if default is not None and name not in self.secrets else self.secrets[name]

        targets = re.findall(r"- source: (\S+)\n +target: (\S+)", text)
        text = re.sub(r"\$\{\w+:\+[^}]*\}", "", text)  # what compose.yaml sets only where a variable is given
        text = re.sub(r"\$\{(\w+)(?::-([^}]*)|:\?[^}]*)?\}", value, text).replace("$$", "$")
        text = re.sub(r"\b(?:postgres|storage|mlflow|prefect|serve):(?=\d)", "127.0.0.1:", text)
        text = text.replace("0.0.0.0", "127.0.0.1")
        text = re.sub(rf"\b({'|'.join(PORTS)})\b", lambda match: str(self.ports[match[1]]), text)
        places = {target: self.root / "config" / source for source, target in targets}
        places |= {"/opt/workspace": self.root / "image"}
        places |= {f"/{name}": self.root / name for name in ("workspace", "journal")}
        return re.sub(rf"(?<![\w./-])({'|'.join(places)})\b", lambda match: str(places[match[1]]), text)

    def environment(self, name: str) -> dict[str, str]:
        """What a process sees: what its image and compose.yaml set, and nothing of ours."""
        home = self.root / "home" / name
        home.mkdir(exist_ok=True)
        programs = [str(BIN), *([str(postgres())] if name in POSTGRES else []), os.environ["PATH"]]
        return {
            "PATH": ":".join(programs),
            "LANG": "C.UTF-8",
            "HOME": str(home),
            "PREFECT_HOME": str(home / "prefect"),
            "PREFECT_UI_STATIC_DIRECTORY": str(home / "prefect-ui"),
            "PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1",
            "PREFECT_WORKER_WEBSERVER_PORT": str(self.ports["8080"]),
            "PREFECT_WORKER_QUERY_SECONDS": "1",  # it asks for runs every ten seconds otherwise
            "DVC_SITE_CACHE_DIR": str(home / "dvc"),
            "HEADSTART_JOURNAL": str(self.root / "journal"),
            "PYTHONUNBUFFERED": "1",
            MARK: str(self.root),
            **settings.QUIET,
            **self.services[name].environment,
        }

    def up(self, *names: str) -> None:
        """Start services, each when what it needs is ready; return when all are ready.

        Raises:
            BrokenError: if one ends, or is not ready in time.
        """
        waiting, deadline = set(names) - self.ready, time.monotonic() + READY_S
        while waiting:
            for name in sorted(waiting):
                if name in self.running:
                    if self.is_ready(name):
                        self.ready.add(name)
                        waiting.discard(name)
                elif all(need in self.ready for need in self.services[name].needs):
                    self.start(name)
            if time.monotonic() > deadline:
                raise BrokenError(f"not ready within {READY_S:.0f} seconds: {', '.join(sorted(waiting))}")
            time.sleep(0.3)

    def start(self, name: str) -> None:
        service = self.services[name]
        with (self.root / "logs" / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                service.command,
                cwd=self.root / ("postgres" if name in POSTGRES else "workspace"),
                env=self.environment(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=service.user,
                start_new_session=True,  # Ctrl-C is for us, who stop one after another
                preexec_fn=be_a_child,
            )

    def is_ready(self, name: str) -> bool:
        """Whether a job has ended well, or a server is healthy.

        Raises:
            BrokenError: if it has ended otherwise.
        """
        ended, check = self.running[name].poll(), self.services[name].check
        if ended is not None and (ended != 0 or check is not None):
            raise BrokenError(f"{name} ended with status {ended}")
        if check is None:
            return ended == 0
        return subprocess.run(check, env=self.environment(name), capture_output=True, check=False).returncode == 0

    def require_all(self) -> None:
        """Refuse to go on without one of the servers.

        Raises:
            BrokenError: if one has ended.
        """
        for name in self.running:
            if self.services[name].check is not None and (ended := self.running[name].poll()) is not None:
                raise BrokenError(f"{name} ended with status {ended}")

    def down(self) -> str:
        """Stop everything, the last started first, and make sure that nothing is left.

        Raises:
            BrokenError: if a process had to be killed, or a port is still taken.
        """
        killed = []
        for name, process in reversed(self.running.items()):
            if process.poll() is None:
                if self.services[name].check is None:  # a job may be a shell with children
                    os.killpg(process.pid, signal.SIGTERM)
                else:
                    process.send_signal(self.services[name].stop)
                try:
                    process.wait(STOP_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    killed.append(name)
        _, left = psutil.wait_procs(list(self.everybody()), timeout=STOP_S)
        for orphan in left:
            with suppress(psutil.NoSuchProcess):
                killed.append(" ".join(orphan.cmdline())[:100] or orphan.name())
                orphan.kill()
        self.running.clear()
        taken = [port for port in self.ports.values() if not is_free(port)]
        if killed or taken:
            raise BrokenError(f"did not end when told to: {killed or 'none'}; ports still taken: {taken or 'none'}")
        return f"no process left, {len(self.ports)} ports free"

    def everybody(self) -> Iterator[psutil.Process]:
        """All processes that were started from here, also by others, whoever their parent is by now."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # it has ended, or it is not ours
                if process.environ().get(MARK) == str(self.root):
                    yield process

    def tails(self, lines: int = 15) -> Iterator[str]:
        """The ends of all logs, the last written one last."""
        for log in sorted((self.root / "logs").iterdir(), key=lambda path: path.stat().st_mtime):
            if text := log.read_text(errors="replace").splitlines()[-lines:]:
                yield "\n".join([f"--- {log}", *text])

    def url(self, port: str) -> str:
        """The address of what listens at this port in compose.yaml."""
        return f"http://127.0.0.1:{self.ports[port]}"


def be_a_child() -> None:
    """Called in a child before it starts: it ends with us, and hears SIGINT, which a background job is born deaf to."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    die_with_parent()


def require_possible(root: Path) -> None:
    """Refuse to begin where PostgreSQL cannot run.

    Raises:
        MissingError: if it is not installed, or its user does not get into the folder.
    """
    postgres()
    closed = [folder for folder in (*reversed(root.parents), root) if not folder.stat().st_mode & 0o001]
    if os.geteuid() == 0 and closed:
        raise MissingError(
            f"PostgreSQL runs as the user nobody, who may not pass {closed[0]}: name another folder (--state)."
        )


def postgres() -> Path:
    """The folder of PostgreSQL's programs; Debian keeps them out of PATH.

    Raises:
        MissingError: if there is none.
    """
    debian = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")))
    if found := shutil.which("initdb") or (debian and debian[-1]):
        return Path(found).resolve().parent
    raise MissingError("PostgreSQL is not installed (there is no initdb): apt-get install postgresql.")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; all are held until the last is known, so that none comes twice."""
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in held]
    for one in held:
        one.close()
    return ports


def is_free(port: int) -> bool:
    """Whether somebody could listen on it now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections linger
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def processor_s() -> float:
    """Seconds of a processor that our children took, those that run and those that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = ended.ru_utime + ended.ru_stime
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            total += sum(child.cpu_times()[:4])  # its own, and those of its children that have ended
    return total
