"""What `infra/` says is well formed, complete and about this program; nothing here starts a container.

`promtool` comes from Debian's package `prometheus`, `amtool` from `prometheus-alertmanager`; the other tools are
development requirements. All of it works without a network.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import kubernetes_validate
import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from headstart import tracking
from headstart.registry import ledger
from tests.unit.test_serving_app import Server

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
BIN = Path(sys.executable).parent
DOCKERFILES = sorted((INFRA / "docker").glob("*.Dockerfile"))
OVERLAYS = ("dev", "prod")
KUBERNETES = "1.37"
OF_PROMETHEUS = {"up"}  # what Prometheus adds to every target


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def installed(tool: str) -> str:
    if not (path := shutil.which(tool)):
        pytest.skip(f"{tool} is not installed: apt-get install prometheus prometheus-alertmanager")
    return path


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((INFRA / "compose.yaml").read_text())
    return document


@pytest.fixture(scope="module", params=OVERLAYS)
def manifests(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """What an overlay makes."""
    text = run(BIN / "kubectl", "kustomize", INFRA / "kubernetes/overlays" / request.param)
    return list(yaml.safe_load_all(text))


def pods(manifests: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for one in manifests:
        if one["kind"] == "Deployment":
            yield one["metadata"]["name"], one["spec"]["template"]["spec"]
        elif one["kind"] == "CronJob":
            yield one["metadata"]["name"], one["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def containers(manifests: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, pod in pods(manifests):
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            yield f"{name}/{container['name']}", container


# Images


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_a_dockerfile_passes_hadolint(dockerfile: Path) -> None:
    run(BIN / "hadolint", dockerfile)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_what_a_dockerfile_copies_exists_and_is_let_into_the_context(dockerfile: Path) -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile.read_text(), re.MULTILINE):
        *sources, _ = line.split()
        for source in sources:
            assert (ROOT / source).exists(), source
            assert any(fnmatch(source, pattern) for pattern in allowed), f"{source} is not in .dockerignore"


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_is_pinned_slim_and_runs_as_a_numeric_user(dockerfile: Path) -> None:
    text = dockerfile.read_text()
    [base] = re.findall(r"^ARG PYTHON=(.+)$", text, re.MULTILINE)
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+(@sha256:[0-9a-f]{64})?", base)
    assert set(re.findall(r"^USER (.+)$", text, re.MULTILINE)) == {"10001:10001"}
    assert "HEALTHCHECK" in text


def test_the_lock_of_a_server_is_a_part_of_the_whole_lock() -> None:
    def pins(path: Path) -> dict[str, str]:
        lines = [line for line in path.read_text().splitlines() if "==" in line]
        return {re.sub(r"[-_.]+", "-", name).lower(): pin for name, pin in (line.split("==") for line in lines)}

    serving, whole = pins(INFRA / "serving.lock"), pins(ROOT / "requirements.lock")
    assert {name: pin for name, pin in serving.items() if whole.get(name) != pin} == {}
    assert not {"torch", "transformers", "dvc", "prefect", "evidently"} & set(serving)


ONLY_THE_LOCK = """
import importlib.metadata, re, sys
plain = lambda name: re.sub(r"[-_.]+", "-", name).lower()
locked = {plain(line.split("==")[0]) for line in open(sys.argv[1]) if "==" in line} | {"headstart"}
hidden = {
    module for module, of in importlib.metadata.packages_distributions().items() if not locked & set(map(plain, of))
}
class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in hidden else self.finder.find_spec(name, path, target)
assert {"torch", "dvc", "ruamel"} <= hidden, hidden
sys.meta_path = [Without(finder) for finder in sys.meta_path]
import headstart.cli.app, mlflow
from headstart import bundle, registry, tracking
from headstart.evaluation.gates import replay
from headstart.journal import writer
from headstart.serving import models, server
"""


def test_serving_imports_nothing_that_the_lock_of_a_server_lacks() -> None:
    # Without this `headstart serve` ended with "No module named 'ruamel'" where infra/serving.lock was installed.
    run(sys.executable, "-W", "ignore", "-c", ONLY_THE_LOCK, INFRA / "serving.lock")


# Compose


def test_compose_fits_its_schema() -> None:
    run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", INFRA / "compose.yaml")


def test_every_variable_of_compose_is_explained_and_no_secret_is_given() -> None:
    used = set(re.findall(r"(?<!\$)\$\{(\w+)", (INFRA / "compose.yaml").read_text()))
    used |= {secret["environment"] for secret in compose()["secrets"].values()}
    example = (INFRA / ".env.example").read_text()
    given = dict(re.findall(r"^(?:# )?([A-Z0-9_]+)=(.*)$", example, re.MULTILINE))
    assert set(given) - {"COMPOSE_PROFILES"} == used
    secret = {name for name in given if re.search("PASSWORD|SECRET|KEY|AUTH|URL$", name)} - {"PREFECT_UI_API_URL"}
    assert {name: given[name] for name in secret if given[name]} == {}


def test_compose_waits_for_jobs_to_end_and_for_servers_to_be_healthy() -> None:
    services = compose()["services"]
    jobs = {name for name, service in services.items() if service["restart"] == "no"}
    assert {"bucket", "mlflow-migrate", "prefect-migrate", "deployments"} <= jobs
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other in jobs else "service_healthy"
            assert how["condition"] == wanted, f"{name} waits for {other}"
    image_checks_itself = {"worker", "serve"}
    assert {n for n in set(services) - jobs if "healthcheck" not in services[n]} == image_checks_itself


def test_compose_pins_images_installs_nothing_and_limits_what_stays() -> None:
    for name, service in compose()["services"].items():
        _, _, tag = service["image"].rpartition(":")
        assert tag and "latest" not in tag and "/" not in tag, f"{name}: {service['image']}"
        assert "pip install" not in str(service.get("command")), name
        assert service["restart"] in ("no", "unless-stopped"), name
        if service["restart"] != "no":
            assert {"cpus", "memory"} <= set(service["deploy"]["resources"]["limits"]), name
        if "build" in service:
            assert service["read_only"] and service["cap_drop"] == ["ALL"], name
            assert (INFRA / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


def test_the_inference_server_meets_mlflow_and_prometheus_alone() -> None:
    networks = {name: set(service.get("networks", [])) for name, service in compose()["services"].items()}
    assert {name for name in networks if networks[name] & networks["serve"]} == {"serve", "mlflow", "prometheus"}


def test_a_network_that_leads_outside_has_one_service() -> None:
    document = compose()
    for network, settings in document["networks"].items():
        members = [name for name, one in document["services"].items() if network in one.get("networks", [])]
        if settings.get("internal"):
            assert len(members) > 1, network
        else:
            assert network == f"outside-{members[0]}", network
            assert len(members) == 1, network


def test_files_that_compose_mounts_exist() -> None:
    for service in compose()["services"].values():
        for volume in service.get("volumes", []):
            if volume.startswith("./"):
                assert (INFRA / volume.split(":")[0]).exists(), volume


# Kubernetes


def test_manifests_fit_the_strict_schemas(manifests: list[dict[str, Any]]) -> None:
    for one in manifests:
        kubernetes_validate.validate(one, KUBERNETES, strict=True)
    misspelt = next(one for one in manifests if one["kind"] == "Deployment") | {"specs": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(misspelt, KUBERNETES, strict=True)


def test_pods_are_restricted(manifests: list[dict[str, Any]]) -> None:
    for name, pod in pods(manifests):
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["enableServiceLinks"] is False, name  # MLFLOW_PORT and PREFECT_* would be taken for settings
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
    for name, container in containers(manifests):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }, name  # fmt: skip
        assert {"requests", "limits"} <= set(container["resources"]), name
        assert re.search(r":\d+\.\d+\.\d+$|@sha256:", container["image"]), f"{name}: {container['image']}"


def test_secrets_and_settings_that_pods_name_are_in_the_examples(manifests: list[dict[str, Any]]) -> None:
    secrets = yaml.safe_load_all((INFRA / "kubernetes/secrets.example.yaml").read_text())
    keys = {one["metadata"]["name"]: set(one["stringData"]) for one in secrets}
    maps = {one["metadata"]["name"]: set(one["data"]) for one in manifests if one["kind"] == "ConfigMap"}
    for name, container in containers(manifests):
        assert {one["configMapRef"]["name"] for one in container.get("envFrom", [])} <= set(maps), name
        for variable in container.get("env", []):
            for kind, known in (("secretKeyRef", keys), ("configMapKeyRef", maps)):
                if reference := variable.get("valueFrom", {}).get(kind):
                    assert reference["key"] in known.get(reference["name"], ()), f"{name}: {variable['name']}"
    assert not [one for one in manifests if one["kind"] == "Secret"]


def test_flows_run_in_the_cluster_when_params_says(manifests: list[dict[str, Any]]) -> None:
    schedules = yaml.safe_load((ROOT / "params.yaml").read_text())["schedules"]
    jobs = {one["metadata"]["name"]: one["spec"] for one in manifests if one["kind"] == "CronJob"}
    assert {name: jobs[name]["schedule"] for name in schedules} == schedules
    assert jobs["migrate"]["suspend"] is True


def test_what_a_migration_needs_can_be_applied_before_everything_else(manifests: list[dict[str, Any]]) -> None:
    first = {
        (one["kind"], one["metadata"]["name"])
        for one in manifests
        if one["metadata"].get("labels", {}).get("headstart/first") == "true"
    }
    [migrate] = [pod for name, pod in pods(manifests) if name == "migrate"]
    assert {("CronJob", "migrate"), ("ServiceAccount", migrate["serviceAccountName"])} <= first
    assert {("NetworkPolicy", name) for name in ("default-deny", "names", "migrate")} <= first
    [container] = migrate["containers"]
    assert "envFrom" not in container  # a configuration map would not be there yet


def test_what_is_selected_exists(manifests: list[dict[str, Any]]) -> None:
    labels = [
        (one["spec"].get("template") or one["spec"]["jobTemplate"]["spec"]["template"])["metadata"]["labels"]
        for one in manifests
        if one["kind"] in ("Deployment", "CronJob")
    ]
    for one in manifests:
        if one["kind"] in ("Service", "NetworkPolicy", "PodDisruptionBudget"):
            spec = one["spec"]
            wanted = spec["podSelector" if one["kind"] == "NetworkPolicy" else "selector"]
            wanted = wanted.get("matchLabels", wanted)
            assert any(wanted.items() <= found.items() for found in labels), one["metadata"]["name"]


def test_everything_is_denied_that_no_policy_allows(manifests: list[dict[str, Any]]) -> None:
    policies = {one["metadata"]["name"]: one["spec"] for one in manifests if one["kind"] == "NetworkPolicy"}
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    reach = [to for spec in policies.values() for rule in spec.get("egress", []) for to in rule["to"]]
    assert all("169.254.0.0/16" in to["ipBlock"]["except"] for to in reach if "ipBlock" in to)  # a cloud's metadata


@pytest.mark.parametrize("example", ["argo-rollouts.yaml", "flagger.yaml"])
def test_the_examples_of_rollouts_ask_for_the_verdict(example: str) -> None:
    text = (INFRA / "kubernetes/rollouts" / example).read_text()
    assert list(yaml.safe_load_all(text))
    assert re.search(r"/rollout/[\w.{}]+/verdict", text)


# What the manifests say about this program


def environment() -> Iterator[tuple[str, str]]:
    """Every variable that a container gets, and from which file."""
    for name, service in compose()["services"].items():
        for variable in service.get("environment", {}):
            yield variable, f"compose.yaml: {name}"
    for overlay in OVERLAYS:
        text = run(BIN / "kubectl", "kustomize", INFRA / "kubernetes/overlays" / overlay)
        for name, container in containers(list(yaml.safe_load_all(text))):
            for entry in container.get("env", []):
                yield entry["name"], f"{overlay}: {name}"
    for dockerfile in DOCKERFILES:
        for variable in re.findall(r"^(?:ENV|   ) +([A-Z_]+)=", dockerfile.read_text(), re.MULTILINE):
            yield variable, dockerfile.name


def test_every_variable_of_ours_that_infra_sets_is_one_that_the_program_reads() -> None:
    source = "".join((ROOT / "src/headstart" / name).read_text() for name in ("settings.py", "determinism.py"))
    ours = {(name, place) for name, place in environment() if name.startswith("HEADSTART_")}
    named = {f"HEADSTART_{end}" for end in ("ACCOUNT", "ALERT_URL", "API_KEYS", "JOURNAL", "JOURNAL_KEY", "THREADS")}
    assert {name for name, _ in ours} == named
    assert [(name, place) for name, place in ours if f'environ.get("{name}"' not in source] == []


def test_probes_and_checks_ask_for_what_the_server_has(tmp_path: Path) -> None:
    paths = set(Server(tmp_path).app.openapi()["paths"])
    text = run(BIN / "kubectl", "kustomize", INFRA / "kubernetes/overlays/prod")
    [serve] = [container for name, container in containers(list(yaml.safe_load_all(text))) if name == "serve/serve"]
    asked = {serve[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    asked |= set(re.findall(r"127\.0\.0\.1:8000(/[\w/]+)", (INFRA / "docker/serve.Dockerfile").read_text()))
    assert asked == {"/v2/health/ready", "/v2/health/live"}
    assert asked <= paths


def test_the_administrator_makes_the_experiments_before_the_server_starts() -> None:
    # MLflow lets whoever makes one manage it, and no setting of READ keeps an account from making one.
    services = compose()["services"]
    made = "for name in ('headstart', 'headstart-ledger'):"
    assert (tracking.EXPERIMENT, ledger.EXPERIMENT) == ("headstart", "headstart-ledger")
    assert made in services["mlflow-accounts"]["command"][-1]
    assert "mlflow-accounts" in services["serve"]["depends_on"]
    assert made in (INFRA / "README.md").read_text()  # the command for Kubernetes


def test_who_writes_the_ledger_has_a_name() -> None:  # else it says `uid 10001@f3a9...`
    services = compose()["services"]
    named = {name: one["environment"].get("HEADSTART_ACCOUNT") for name, one in services.items() if "serve" in name}
    named |= {"worker": services["worker"]["environment"].get("HEADSTART_ACCOUNT")}
    assert named == {"serve": "serve@compose", "worker": "worker@compose"}
    assert services["worker"]["hostname"] == "worker"  # a new container finishes what the one before it began
    for overlay in OVERLAYS:
        manifests = list(yaml.safe_load_all(run(BIN / "kubectl", "kustomize", INFRA / "kubernetes/overlays" / overlay)))
        given = {
            name: {one["name"]: one.get("value") for one in container.get("env", [])}.get("HEADSTART_ACCOUNT")
            for name, container in containers(manifests)
        }
        assert {name: account for name, account in given.items() if account} == {
            "serve/serve": "serve@kubernetes",
            "training/flow": "flow@kubernetes",
            "monitoring/flow": "flow@kubernetes",
        }


# Prometheus, Alertmanager, Grafana


def test_prometheus_takes_its_configuration_and_rules(tmp_path: Path) -> None:
    (tmp_path / "metrics_key").write_text("")  # promtool wants to see the file that compose mounts
    shutil.copy(INFRA / "prometheus/alerts.yml", tmp_path)
    text = (INFRA / "prometheus/prometheus.yml").read_text()
    (tmp_path / "prometheus.yml").write_text(text.replace("/run/secrets/", f"{tmp_path}/"))
    run(installed("promtool"), "check", "config", tmp_path / "prometheus.yml")


def test_prometheus_sends_the_key_that_a_server_with_api_keys_asks_for() -> None:
    jobs = yaml.safe_load((INFRA / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    [job] = [job for job in jobs if job["job_name"] == "headstart"]
    document = compose()
    prometheus, serve = document["services"]["prometheus"], document["services"]["serve"]
    [secret] = prometheus["secrets"]
    assert job["authorization"] == {"credentials_file": f"/run/secrets/{secret}"}
    assert document["secrets"][secret] == {"environment": "METRICS_KEY"}
    assert serve["environment"]["HEADSTART_API_KEYS"] == "${API_KEYS_FOLDER:+/etc/headstart/keys/keys}"
    assert "${API_KEYS_FOLDER:-keys}:/etc/headstart/keys:ro" in serve["volumes"]


def test_keys_and_alerts_on_kubernetes_are_optional_secrets(manifests: list[dict[str, Any]]) -> None:
    given = {
        (name, one["name"]): one["valueFrom"]["secretKeyRef"]
        for name, container in containers(manifests)
        for one in container.get("env", [])
        if one["name"] in ("HEADSTART_ALERT_URL", "HEADSTART_API_KEYS")
    }
    alert = {"name": "headstart-flows", "key": "alert-url", "optional": True}
    keys = {"name": "headstart-api-keys", "key": "path", "optional": True}
    assert given == {
        ("training/flow", "HEADSTART_ALERT_URL"): alert,
        ("monitoring/flow", "HEADSTART_ALERT_URL"): alert,
        ("serve/serve", "HEADSTART_API_KEYS"): keys,
    }
    [serve] = [pod for name, pod in pods(manifests) if name == "serve"]
    assert {"name": "keys", "secret": {"secretName": "headstart-api-keys", "optional": True}} in serve["volumes"]


def test_alerts_are_raised_by_what_should_raise_them_and_by_nothing_close() -> None:
    run(installed("promtool"), "test", "rules", "alerts_test.yml", cwd=INFRA / "prometheus")


def test_alertmanager_takes_its_configuration() -> None:
    run(installed("amtool"), "check-config", INFRA / "alertmanager.yml")


def alerts() -> dict[str, str]:
    groups = yaml.safe_load((INFRA / "prometheus/alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def test_every_alert_has_a_test_that_raises_it() -> None:
    tests = yaml.safe_load((INFRA / "prometheus/alerts_test.yml").read_text())["tests"]
    raised = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert raised == set(alerts())


def dashboards() -> dict[str, dict[str, Any]]:
    return {path.name: json.loads(path.read_text()) for path in sorted((INFRA / "grafana/dashboards").glob("*.json"))}


def test_dashboards_are_told_apart_and_name_the_provisioned_source() -> None:
    [source] = yaml.safe_load((INFRA / "grafana/datasource.yml").read_text())["datasources"]
    boards = dashboards()
    assert len({board["uid"] for board in boards.values()}) == len(boards) == 2
    for name, board in boards.items():
        ids = [panel["id"] for panel in board["panels"]]
        assert len(set(ids)) == len(ids), name
        used = {place["datasource"]["uid"] for panel in board["panels"] for place in (panel, *panel["targets"])}
        assert used == {source["uid"]}, name


def queries() -> dict[str, str]:
    """Every query by where it stands."""
    found = {f"alert {name}": query for name, query in alerts().items()}
    for board in dashboards().values():
        for panel in board["panels"]:
            for target in panel["targets"]:
                found[f"{board['title']}, {panel['title']}, {target['refId']}"] = target["expr"]
    return found


def metrics(query: str) -> set[str]:
    """The metrics that a query names; it has to be one that Prometheus can parse."""
    promql_parser.parse(query)
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\"[^\"]*\"|\b(by|without|on|ignoring)\s*\([^)]*\)", "", query)
    names = set(re.findall(r"\b[a-z_][a-z0-9_]*\b(?!\s*\()", bare))
    return names - {"and", "or", "unless", "by", "without", "on", "ignoring", "bool"}


def test_the_metrics_of_a_query_are_found() -> None:
    query = 'histogram_quantile(0.9, sum by (le) (rate(seen_bucket{model="x"}[5m]))) > 1 and absent(up{job="y"})'
    assert metrics(query) == {"seen_bucket", "up"}


@pytest.fixture
def exported(tmp_path: Path) -> Iterator[Mapping[str, set[str]]]:
    """The samples of a live server's /metrics after a request of each kind, each with its labels."""
    server = Server(tmp_path)
    server.fleet.start()
    server.post("/predict/texts", {"inputs": ["a", "x" * 100_000]})
    server.post("/feedback/texts", [{"id": "nobody", "index": 0, "label": "good"}])
    page = server.request("GET", "/metrics").text
    server.fleet.close()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(page):
        for name in {family.name, *(f"{family.name}_{end}" for end in ("total", "bucket", "sum", "count"))}:
            if f"# TYPE {name} " in page or f"# TYPE {family.name} histogram" in page:
                found.setdefault(name, set())
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    yield found


def test_every_metric_that_an_alert_or_a_panel_asks_for_is_exported(exported: Mapping[str, set[str]]) -> None:
    unknown = {
        place: names for place, query in queries().items() if (names := metrics(query) - set(exported)) - OF_PROMETHEUS
    }
    assert unknown == {}


def test_every_label_that_an_alert_or_a_panel_groups_by_is_exported(exported: Mapping[str, set[str]]) -> None:
    by_prometheus = {"instance", "job", "le"}
    for place, query in queries().items():
        grouped = {label for found in re.findall(r"\bby \(([^)]*)\)", query) for label in re.split(r",\s*", found)}
        known = set().union(*(exported.get(name, set()) for name in metrics(query)))
        assert grouped - by_prometheus <= known, place
