import static io.opentelemetry.api.common.AttributeKey.booleanArrayKey;
import static io.opentelemetry.api.common.AttributeKey.booleanKey;
import static io.opentelemetry.api.common.AttributeKey.doubleArrayKey;
import static io.opentelemetry.api.common.AttributeKey.doubleKey;
import static io.opentelemetry.api.common.AttributeKey.longArrayKey;
import static io.opentelemetry.api.common.AttributeKey.longKey;
import static io.opentelemetry.api.common.AttributeKey.stringArrayKey;
import static io.opentelemetry.api.common.AttributeKey.stringKey;

import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.common.KeyValue;
import io.opentelemetry.api.common.Value;
import io.opentelemetry.api.logs.Severity;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.sdk.OpenTelemetrySdk;
import io.opentelemetry.sdk.autoconfigure.AutoConfiguredOpenTelemetrySdk;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Emits a bit of everything through OpenTelemetry's SDK for Java, as OTEL_EXPORTER_OTLP_* say. */
public final class Emit {
    private static final int COUNT = 100;
    /** One for each bucket, since SDKs keep a random exemplar of several. */
    private static final double[] DURATIONS = {1, 7, 20, 40, 60, 90, 200, 400, 600, 900};
    private static final List<Severity> SEVERITIES =
            List.of(Severity.DEBUG, Severity.INFO, Severity.WARN, Severity.ERROR);

    private Emit() {}

    public static void main(String[] arguments) {
        // The program ends by itself, so nothing has to be done when it is ended.
        var sdk = AutoConfiguredOpenTelemetrySdk.builder().disableShutdownHook().build().getOpenTelemetrySdk();
        emit(sdk);
        // All three begin before the first is waited for.
        var logs = sdk.getSdkLoggerProvider().forceFlush();
        var traces = sdk.getSdkTracerProvider().forceFlush();
        var metrics = sdk.getSdkMeterProvider().forceFlush();
        var report = String.format(
                "{\"logs\": %s, \"traces\": %s, \"metrics\": %s}",
                logs.join(60, TimeUnit.SECONDS).isSuccess(),
                traces.join(60, TimeUnit.SECONDS).isSuccess(),
                metrics.join(60, TimeUnit.SECONDS).isSuccess());
        sdk.shutdown().join(60, TimeUnit.SECONDS);
        System.out.println(report);
    }

    private static void emit(OpenTelemetrySdk sdk) {
        var logger = sdk.getLogsBridge()
                .loggerBuilder("example")
                .setInstrumentationVersion("1.0")
                .setSchemaUrl("https://example.com/logs")
                .build();
        var tracer = sdk.getTracerProvider()
                .tracerBuilder("example")
                .setInstrumentationVersion("1.0")
                .setSchemaUrl("https://example.com/traces")
                .build();
        var meter = sdk.getMeterProvider().meterBuilder("example").setInstrumentationVersion("1.0").build();
        var requests = meter.counterBuilder("requests")
                .setUnit("{request}")
                .setDescription("How many there were")
                .build();
        var duration =
                meter.histogramBuilder("duration").setUnit("ms").setDescription("How long they took").build();
        var bytes = Value.of(new byte[] {0, 1, (byte) 0xfe, (byte) 0xff});
        var map = Value.of(KeyValue.of(
                "deep",
                Value.of(Value.of(1), Value.of("two"), Value.of(KeyValue.of("three", Value.of(3.0))))));
        for (int n = 0; n < COUNT; n++) {
            var parent = tracer.spanBuilder(String.format("span %03d", n))
                    .setSpanKind(SpanKind.SERVER)
                    .setAllAttributes(attributes(n))
                    .startSpan();
            try (var outer = parent.makeCurrent()) {
                var child = tracer.spanBuilder(String.format("child %03d", n))
                        .setSpanKind(SpanKind.CLIENT)
                        .startSpan();
                try (var inner = child.makeCurrent()) {
                    child.addEvent("halfway", Attributes.of(longKey("n"), (long) n));
                    if (n % 10 == 0) {
                        child.setStatus(StatusCode.ERROR, "every tenth");
                    }
                    var severity = SEVERITIES.get(n % SEVERITIES.size());
                    logger.logRecordBuilder()
                            .setSeverity(severity)
                            .setSeverityText(severity.name())
                            .setBody(String.format("record %03d", n))
                            .setAllAttributes(attributes(n))
                            .setAttribute("bytes", bytes)
                            .setAttribute("map", map)
                            .setAttribute("none", Value.empty())
                            .setEventName("example.event")
                            .emit();
                    if (n < DURATIONS.length) {
                        duration.record(DURATIONS[n], Attributes.of(booleanKey("even"), n % 2 == 0));
                    }
                } finally {
                    child.end();
                }
            } finally {
                parent.end();
            }
        }
        requests.add(COUNT);
    }

    /** One of each kind of value that spans and log records share. */
    private static Attributes attributes(int n) {
        return Attributes.builder()
                .put(stringKey("string"), "ünïcode ☂ \"quoted\"\n")
                .put(stringKey("empty"), "")
                .put(longKey("int"), n)
                .put(longKey("large"), (1L << 53) + 1)
                .put(doubleKey("double"), n + 0.5)
                .put(booleanKey("bool"), n % 2 == 0)
                .put(stringArrayKey("strings"), List.of("a", "b"))
                .put(longArrayKey("ints"), List.of(1L, -2L, 3L))
                .put(doubleArrayKey("doubles"), List.of(0.5, 1e-300))
                .put(booleanArrayKey("bools"), List.of(true, false))
                .build();
    }
}
