"""The servers of compose.yaml as processes, and one drift caught and cured on them, step by step: `make stack`.

python -m infra.stack [--keep] [--state DIR]

Exit status: 0 every step held, 1 one did not (the ends of the logs are printed), 3 something is missing here.
"""

import argparse
import csv
import io
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import yaml

from infra.processes import BUCKET, BrokenError, MissingError, Service, Stack, processor_s, require_possible
from tests.tiny import workspace as toy

ROOT = Path(__file__).parents[1]
MODEL = "topics"
RUN_S = 300.0  # for a flow to end
Rows = list[tuple[str, str]]  # text, label


def main() -> int:
    """Start, use and stop the stack."""
    parser = argparse.ArgumentParser(prog="python -m infra.stack", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave it up after the steps, until Ctrl-C")
    parser.add_argument("--state", type=Path, help="a new or empty folder for everything; else a temporary one")
    arguments = parser.parse_args()
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.default_int_handler)
    begun, status = time.monotonic(), 1
    root = (arguments.state or Path(tempfile.mkdtemp(prefix="headstart-stack-"))).resolve()
    try:
        root.mkdir(parents=True, exist_ok=True)
        if any(root.iterdir()):
            raise MissingError(f"{root} is not empty: name another folder (--state).")
        root.chmod(0o755)  # for PostgreSQL's user
        require_possible(root)
        stack = Stack(root)
    except MissingError as lack:
        print(lack, file=sys.stderr)
        return 3
    try:
        for sentence, step in Scenario(stack).steps:
            told(sentence, step)
        if arguments.keep:
            keep(stack)
        status = 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    except Exception as error:  # noqa: BLE001 - whatever it is, the logs are shown and everything is stopped
        print(*stack.tails(), f"{type(error).__name__}: {error}", sep="\n", file=sys.stderr, flush=True)
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)  # nobody interrupts the stopping
    try:
        told("everything ends when it is told to", stack.down)
    except BrokenError as error:
        print(error, file=sys.stderr)
        status = 1
    if status == 0 and not arguments.state:
        shutil.rmtree(root, ignore_errors=True)
    else:
        print(f"logs: {root}/logs")
    print(f"{time.monotonic() - begun:10.1f} s, {processor_s():5.1f} s cpu   in all", flush=True)
    return status


def told(sentence: str, step: Callable[[], str]) -> None:
    """Take a step; print what it saw and how long it took."""
    begun, used = time.monotonic(), processor_s()
    print(f"{datetime.now(UTC):%H:%M:%S} {sentence}", flush=True)
    seen = step()
    print(f"{time.monotonic() - begun:10.1f} s, {processor_s() - used:5.1f} s cpu   {seen}", flush=True)


def keep(stack: Stack) -> None:
    """Print the addresses, and wait to be interrupted."""
    print(f"MLflow      {stack.url('5000')}  user admin, password {stack.secrets['MLFLOW_ADMIN_PASSWORD']}")
    print(f"Prefect     {stack.url('4200').replace('127.0.0.1', 'localhost')}  {stack.secrets['PREFECT_AUTH']}")
    print(f"models      {stack.url('8000')}/docs")
    print(f"S3          {stack.url('9000')}  bucket {BUCKET}, any key")
    if "prometheus" in stack.services:
        print(f"Prometheus  {stack.url('9090')}")
    print(f"files       {stack.root}\nCtrl-C stops everything.", flush=True)
    with suppress(KeyboardInterrupt):
        while True:
            stack.require_all()
            time.sleep(1)


class Scenario:
    """What is asked of the stack: sentences that may be false, each with a step that answers what it saw."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.steps: list[tuple[str, Callable[[], str]]] = [
            ("PostgreSQL, the S3 store, MLflow, Prefect and a worker are up", self.servers),
            ("a training run by the worker promotes a first champion", self.first_training),
            ("MLflow's bundles and DVC's data are in the S3 store", self.stored),
            ("the inference server answers by the alias, with an account that may only read", self.serving),
            ("the monitor, run by the worker, finds usual traffic ok", self.usual_traffic),
            ("the monitor alerts on other traffic", self.other_traffic),
            ("the alert has started a training through Prefect's automation", self.automation),
            ("the inference server follows to the new champion", self.follow),
        ]
        if "prometheus" in stack.services:
            self.steps.append(("Prometheus has counted the answers and evaluates the alert rules", self.scraped))

    def servers(self) -> str:
        write = f"from pathlib import Path; from infra import stack; stack.write_toy(Path({str(self.stack.root)!r}))"
        self.stack.services["toy"] = Service([sys.executable, "-c", write], {"PYTHONPATH": str(ROOT)})
        self.stack.services["workspace"].needs.append("toy")
        self.stack.up(*(name for name in self.stack.services if name != "serve"))
        self.upload(questions(240, seed=1))
        return ", ".join(sorted(self.stack.ready))

    def first_training(self) -> str:
        return self.promoted(self.run("training", {"models": [MODEL]}), "1")

    def stored(self) -> str:
        objects = self.s3().list_objects_v2(Bucket=BUCKET)["Contents"]
        count = {place: sum(one["Key"].startswith(place) for one in objects) for place in ("mlflow/", "dvc/")}
        expect(all(count.values()), f"objects below each of {count}")
        return ", ".join(f"{number} objects in {place}" for place, number in count.items())

    def serving(self) -> str:
        self.stack.up("serve")
        return f"answered by version {self.ask(questions(1, seed=9))}"

    def usual_traffic(self) -> str:
        self.ask(questions(240, seed=4))
        return self.watched(f"Completed: {MODEL}: ok")

    def other_traffic(self) -> str:
        training = self.prefect("GET", "deployments/name/training/training")["id"]
        self.prefect("POST", "automations/", retrain_at_alerts(training))
        self.upload([*questions(240, seed=1), *doubled(questions(240, seed=6))])  # somebody has labelled a few
        self.ask(doubled(questions(480, seed=5)))
        return self.watched(f"Alert: {MODEL}: alert")

    def automation(self) -> str:
        def started() -> str | None:
            runs = self.prefect("POST", "flow_runs/filter", {"flows": {"name": {"any_": ["training"]}}})
            return next((str(run["id"]) for run in runs if (run["created_by"] or {}).get("type") == "AUTOMATION"), None)

        return self.promoted(until(started, 30.0, "a training run that an automation created"), "2")

    def follow(self) -> str:
        until(lambda: self.ask(questions(1, seed=9)) == "2", 60.0, "an answer by version 2")
        return "answered by version 2"

    def scraped(self) -> str:
        def answered(path: str, **question: str) -> Any:
            answer = httpx.get(f"{self.stack.url('9090')}/api/v1/{path}", params=question, timeout=30)
            return answer.raise_for_status().json()["data"]

        def counted() -> float:
            found = answered("query", query=f'sum(headstart_answers_total{{job="headstart", model="{MODEL}"}})')
            return float(found["result"][0]["value"][1]) if found["result"] else 0.0

        until(lambda: counted() >= 480, 20.0, "a count of 480 answers")
        rules = [rule for group in answered("rules")["groups"] for rule in group["rules"]]
        expect(rules and {rule["health"] for rule in rules} == {"ok"}, f"alert rules without an error; got {rules}")
        return f"{counted():.0f} answers, {len(rules)} rules"

    def upload(self, rows: Rows) -> None:
        """Put labelled questions where the model's source points."""
        text = io.StringIO()
        csv.writer(text).writerows([("text", "label"), *rows])
        self.s3().put_object(Bucket=BUCKET, Key="sources/topics.csv", Body=text.getvalue().encode())

    def ask(self, rows: Rows) -> str:
        """Ask the server, a few at a time; the version that answered last."""
        version = ""
        for at in range(0, len(rows), 8):
            body = {"inputs": [text for text, _ in rows[at : at + 8]]}
            answer = httpx.post(f"{self.stack.url('8000')}/predict/{MODEL}", json=body, timeout=30)
            version = str(answer.raise_for_status().json()["model_version"])
        return version

    def watched(self, said: str) -> str:
        """Let the worker look at the window that ends with this minute; expect how the run ends."""
        time.sleep(1.5)  # the journal is written each second (journal.flush_s)
        end = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
        ended = self.ended(self.run("monitoring", {"models": [MODEL], "now": end.isoformat()}))
        expect(ended.startswith(said), f"monitoring ends as {said}; it ended as {ended}")
        return ended

    def promoted(self, run: str, version: str) -> str:
        """Wait for a training to end; expect which version is champion then."""
        ended = self.ended(run)
        found = httpx.get(
            f"{self.stack.url('5000')}/api/2.0/mlflow/registered-models/alias",
            params={"name": MODEL, "alias": "champion"},
            auth=("admin", self.stack.secrets["MLFLOW_ADMIN_PASSWORD"]),
            timeout=30,
        )
        expect(found.is_success and found.json()["model_version"]["version"] == version, f"{ended}; got {found.text}")
        return f"{ended} Champion: version {version}"

    def run(self, flow: str, parameters: dict[str, Any]) -> str:
        """Ask for a run of a deployment, which a worker will take; its id."""
        deployment = self.prefect("GET", f"deployments/name/{flow}/{flow}")["id"]
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return str(self.prefect("POST", f"deployments/{deployment}/create_flow_run", body)["id"])

    def ended(self, run: str) -> str:
        """Wait for a run to end; its state's name and message.

        Raises:
            BrokenError: if it fails.
        """

        def final() -> Any:
            self.stack.require_all()
            state = self.prefect("GET", f"flow_runs/{run}")["state"]
            return state if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None

        state = until(final, RUN_S, f"the end of run {run}")
        expect(state["type"] == "COMPLETED", f"a run that completes; it ended as {state['name']}: {state['message']}")
        return f"{state['name']}: {state['message']}"

    def prefect(self, method: str, path: str, body: Any = None) -> Any:
        """What Prefect's API answers."""
        user, _, password = self.stack.secrets["PREFECT_AUTH"].partition(":")
        url = f"{self.stack.url('4200')}/api/{path}"
        return httpx.request(method, url, json=body, auth=(user, password), timeout=30).raise_for_status().json()

    def s3(self) -> Any:
        """A client of the store."""
        import boto3

        names = {"aws_access_key_id": "S3_ACCESS_KEY", "aws_secret_access_key": "S3_SECRET_KEY"}
        keys = {key: self.stack.secrets[name] for key, name in names.items()}
        return boto3.client("s3", endpoint_url=self.stack.url("9000"), region_name="us-east-1", **keys)


def retrain_at_alerts(deployment: str) -> dict[str, Any]:
    """An automation of Prefect that trains a model at its first alert, in a run of its own.

    `pipelines.deployments` does not make it: the monitoring flow itself acts on alerts that last (`retrain:` in
    params.yaml), with a cooldown, and not on every one.
    """
    return {
        "name": "train at an alert",
        "trigger": {
            "type": "event",
            "posture": "Reactive",
            "expect": ["headstart.alert"],
            "match": {"prefect.resource.id": "headstart.model.*"},
            "threshold": 1,
            "within": 0,
        },
        "actions": [
            {
                "type": "run-deployment",
                "source": "selected",
                "deployment_id": deployment,
                "parameters": {"models": "{{ [event.payload.model] }}"},
            }
        ],
    }


def write_toy(root: Path) -> None:
    """The workspace of the image: one model of texts, with data in the S3 store, that trains in seconds."""
    toy.build(root / "image")
    document = toy.params()
    source = {"source": f"s3://{BUCKET}/sources/topics.csv"}
    document["models"] = {MODEL: {"modality": "text", "backbone": "tinybert", "data": source}}
    document["backbones"] = {"tinybert": document["backbones"]["tinybert"]}
    document["defaults"]["all"]["plan"]["strategy"] = "linear_probe"
    document["schedules"] = dict.fromkeys(document["schedules"], "0 0 1 1 *")  # no run but those asked for
    (root / "image/params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))


def questions(rows: int, *, seed: int) -> Rows:
    """Labelled questions of the toy's language."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "questions.csv"
        toy.write_topics(path, rows=rows, seed=seed)
        with path.open(newline="") as file:
            return [(row["text"], row["label"]) for row in csv.DictReader(file)]


def doubled(rows: Rows) -> Rows:
    """Each question followed by another of its topic: longer than all that the first champion was trained on."""
    following = {label: [text for text, other in rows if other == label] for _, label in rows}
    return [(f"{text} {following[label].pop()}", label) for text, label in rows[: len(rows) // 2]]


def until(found: Callable[[], Any], seconds: float, what: str) -> Any:
    """What is found, as soon as it is.

    Raises:
        BrokenError: if it is not within these seconds.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := found():
            return result
        time.sleep(0.5)
    raise BrokenError(f"{what} did not come within {seconds:.0f} seconds")


def expect(held: object, what: str) -> None:
    if not held:
        raise BrokenError(f"expected: {what}")


if __name__ == "__main__":
    sys.exit(main())
