"""What `/metrics` shows: requests, answers, latency, queues, versions and the journals' health."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from headstart.serving.fleet import Fleet

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The counters of one server; thread-safe."""

    def __init__(self, fleet: Fleet) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "headstart_requests", "Requests, by HTTP status.", ["model", "endpoint", "status"], registry=self._registry
        )
        self._answers = Counter("headstart_answers", "Inputs answered.", ["model", "version"], registry=self._registry)
        self._refused = Counter(
            "headstart_refused_inputs", "Inputs refused.", ["model", "version"], registry=self._registry
        )
        self._implausible = Counter(
            "headstart_implausible_inputs",
            "Inputs answered with a warning.",
            ["model", "version"],
            registry=self._registry,
        )
        self._unknown = Counter(
            "headstart_feedback_unknown_ids",
            "Labels for request ids that the journal was not found to hold.",
            ["model"],
            registry=self._registry,
        )
        self._latency = Histogram(
            "headstart_latency_seconds",
            "From a request's arrival to its answer.",
            ["model"],
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._registry.register(_FleetCollector(fleet))
        ProcessCollector(registry=self._registry)  # memory, processor time, open files, start

    def request(self, model: str, endpoint: str, status: int) -> None:
        """Count a request."""
        self._requests.labels(model, endpoint, str(status)).inc()

    def answered(self, model: str, version: int, inputs: int, seconds: float) -> None:
        """Count a request's answers and how long they took."""
        self._answers.labels(model, str(version)).inc(inputs)
        self._latency.labels(model).observe(seconds)

    def inputs(self, model: str, version: int, *, refused: int, implausible: int) -> None:
        """Count the refused and the odd inputs of a request."""
        if refused:
            self._refused.labels(model, str(version)).inc(refused)
        if implausible:
            self._implausible.labels(model, str(version)).inc(implausible)

    def unknown_ids(self, model: str, count: int) -> None:
        """Count labels for requests that are not known."""
        if count:
            self._unknown.labels(model).inc(count)

    def page(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)


class _FleetCollector(Collector):
    """Asks the fleet when it is asked itself."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def collect(self) -> Iterator[Metric]:
        fleet = self._fleet
        queue = GaugeMetricFamily("headstart_queue_inputs", "Inputs that wait.", labels=["model"])
        most = GaugeMetricFamily("headstart_queue_limit", "Inputs that may wait; beyond it: 503.", labels=["model"])
        version = GaugeMetricFamily("headstart_model_version", "The version at work; 0: none yet.", labels=["model"])
        failures = CounterMetricFamily("headstart_reload_failures", "Champions not loadable.", labels=["model"])
        artifact = GaugeMetricFamily(
            "headstart_model_artifact_wrong",
            "1 while the champion's bundle is not the one registered, or does not give its golden answers.",
            labels=["model"],
        )
        written = CounterMetricFamily("headstart_journal_rows_written", "Rows on the disk.", labels=["model"])
        lost = CounterMetricFamily("headstart_journal_rows_lost", "Rows the disk refused.", labels=["model"])
        waiting = GaugeMetricFamily("headstart_journal_rows_waiting", "Rows in memory.", labels=["model"])
        failing = GaugeMetricFamily("headstart_journal_failing", "1 while rows cannot be written.", labels=["model"])
        step = GaugeMetricFamily(
            "headstart_rollout_version", "The challenger at work beside the champion.", labels=["model", "step"]
        )
        copies = CounterMetricFamily(
            "headstart_rollout_copies", "Inputs copied to the other version of a rollout.", labels=["model", "outcome"]
        )
        canary = CounterMetricFamily(
            "headstart_rollout_canary_requests",
            "Requests that were a canary's; those it failed at were answered by the champion.",
            labels=["model", "outcome"],
        )
        recovered = CounterMetricFamily(
            "headstart_journal_recovered_rows", "Rows taken over from servers that died.", labels=["model"]
        )
        for name in fleet.names:
            journal = fleet.journal(name)
            health = journal.health
            queue.add_metric([name], fleet.waiting(name))
            most.add_metric([name], fleet.slot(name).params.queue)
            version.add_metric([name], fleet.version(name) or 0)
            failures.add_metric([name], fleet.reload_failures[name])
            artifact.add_metric([name], float(fleet.artifact_is_wrong(name)))
            written.add_metric([name], health.written)
            lost.add_metric([name], health.lost)
            waiting.add_metric([name], health.waiting)
            failing.add_metric([name], float(health.trouble is not None))
            recovered.add_metric([name], sum(found.rows for found in journal.recovered))
            if candidate := fleet.candidate(name):
                step.add_metric([name, candidate.model.role], candidate.model.version)
            for outcome in ("answered", "failed", "dropped"):
                copies.add_metric([name, outcome], getattr(fleet.copies[name], outcome))
            canary.add_metric([name, "answered"], fleet.canary_answers[name])
            canary.add_metric([name, "failed"], fleet.canary_failures[name])
        yield from (queue, most, version, failures, artifact, written, lost, waiting, failing, recovered)
        yield from (step, copies, canary)
