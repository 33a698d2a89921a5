"""Emits a bit of everything through OpenTelemetry's SDK for Python, as OTEL_EXPORTER_OTLP_* say."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

if os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"] == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
else:
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

COUNT = 100
# One for each bucket, since SDKs keep a random exemplar of several.
DURATIONS = [1.0, 7.0, 20.0, 40.0, 60.0, 90.0, 200.0, 400.0, 600.0, 900.0]
SEVERITIES = [SeverityNumber.DEBUG, SeverityNumber.INFO, SeverityNumber.WARN, SeverityNumber.ERROR]

loggers = LoggerProvider(shutdown_on_exit=False)
loggers.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
tracers = TracerProvider(shutdown_on_exit=False)
tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
meters = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())], shutdown_on_exit=False)

logger = loggers.get_logger("example", "1.0", "https://example.com/logs", {"scope": True})
tracer = tracers.get_tracer("example", "1.0", schema_url="https://example.com/traces")
meter = meters.get_meter("example", "1.0")
requests = meter.create_counter("requests", "{request}", "How many there were")
duration = meter.create_histogram("duration", "ms", "How long they took")


def attributes(n):
    """One of each kind of value that spans and log records share."""
    return {
        "string": "ünïcode ☂ \"quoted\"\n",
        "empty": "",
        "int": n,
        "large": 2**53 + 1,
        "double": n + 0.5,
        "bool": n % 2 == 0,
        "strings": ["a", "b"],
        "ints": [1, -2, 3],
        "doubles": [0.5, 1e-300],
        "bools": [True, False],
    }


for n in range(COUNT):
    with tracer.start_as_current_span(f"span {n:03}", kind=SpanKind.SERVER, attributes=attributes(n)):
        with tracer.start_as_current_span(f"child {n:03}", kind=SpanKind.CLIENT) as child:
            child.add_event("halfway", {"n": n})
            if n % 10 == 0:
                child.set_status(Status(StatusCode.ERROR, "every tenth"))
            severity = SEVERITIES[n % len(SEVERITIES)]
            more = {"bytes": b"\x00\x01\xfe\xff", "map": {"deep": [1, "two", {"three": 3.0}]}, "none": None}
            logger.emit(
                severity_number=severity,
                severity_text=severity.name,
                body=f"record {n:03}",
                attributes=attributes(n) | more,
                event_name="example.event",
            )
            if n < len(DURATIONS):
                duration.record(DURATIONS[n], {"even": n % 2 == 0})
requests.add(COUNT)

with ThreadPoolExecutor() as pool:
    providers = {"logs": loggers, "traces": tracers, "metrics": meters}
    # An exception stands for a failure as much as `False` does.
    flushes = {signal: pool.submit(provider.force_flush, 60_000) for signal, provider in providers.items()}
    report = {signal: flush.exception() is None and flush.result() for signal, flush in flushes.items()}
for provider in providers.values():
    provider.shutdown()
print(json.dumps(report))
