from __future__ import annotations

from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from gateway.admin.exposition import merged
from gateway.telemetry.events import ThreadAbandoned, WorkerStarted
from gateway.telemetry.metrics import Metrics


def test_every_sample_gets_its_workers_label() -> None:
    first = b'# HELP a_total A.\n# TYPE a_total counter\na_total 1.0\na_total{b="c {} d"} 2.0\n'
    second = b"# HELP a_total A.\n# TYPE a_total counter\na_total 3.0\n# TYPE z gauge\nz{} 4\n"
    assert merged({1: second, 0: first, 2: None}).decode().splitlines() == [
        "# HELP a_total A.",
        "# TYPE a_total counter",
        'a_total{worker="0"} 1.0',
        'a_total{worker="0",b="c {} d"} 2.0',
        'a_total{worker="1"} 3.0',
        "# TYPE z gauge",
        'z{worker="1"} 4',
        "# HELP gateway_worker_up Whether its metrics are on this page.",
        "# TYPE gateway_worker_up gauge",
        'gateway_worker_up{worker="0"} 1.0',
        'gateway_worker_up{worker="1"} 1.0',
        'gateway_worker_up{worker="2"} 0.0',
    ]


def test_what_is_merged_is_what_was_counted() -> None:
    workers = Metrics(), Metrics()
    for number, metrics in enumerate(workers):
        metrics(WorkerStarted(number))
        metrics(ThreadAbandoned('l"d}a p'))
    for accept, parse in (("", prometheus), ("application/openmetrics-text", open_metrics)):
        pages = {number: metrics.render(accept)[0] for number, metrics in enumerate(workers)}
        families = {family.name: family for family in parse(merged(pages).decode())}
        assert set(families) - {"gateway_worker_up"} == {
            family.name for family in parse(pages[0].decode())
        }
        restarts = families["gateway_worker_restarts"].samples
        assert [(one.labels, one.value) for one in restarts] == [
            ({"worker": "0"}, 0),
            ({"worker": "1"}, 1),
        ]
        threads = families["gateway_abandoned_threads"].samples
        assert [one.labels["service"] for one in threads] == ['l"d}a p'] * 2
