// Emits a bit of everything through OpenTelemetry's SDK for Go, as OTEL_EXPORTER_OTLP_* say.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	stdlog "log"
	"os"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const count = 100

// durations has one for each bucket, since SDKs keep a random exemplar of several.
var durations = []float64{1, 7, 20, 40, 60, 90, 200, 400, 600, 900}

var severities = []log.Severity{log.SeverityDebug, log.SeverityInfo, log.SeverityWarn, log.SeverityError}

// provider is what those of the three signals have in common.
type provider interface {
	ForceFlush(context.Context) error
	Shutdown(context.Context) error
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	logs, spans, metrics, err := exporters(ctx)
	if err != nil {
		stdlog.Fatal(err)
	}
	loggers := sdklog.NewLoggerProvider(sdklog.WithProcessor(sdklog.NewBatchProcessor(logs)))
	tracers := sdktrace.NewTracerProvider(sdktrace.WithBatcher(spans))
	meters := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewPeriodicReader(metrics)))
	if err := emit(ctx, loggers, tracers, meters); err != nil {
		stdlog.Fatal(err)
	}
	report := finish(ctx, map[string]provider{"logs": loggers, "traces": tracers, "metrics": meters})
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		stdlog.Fatal(err)
	}
}

// exporters makes one for each signal. Each reads the rest of its settings from the environment.
func exporters(ctx context.Context) (sdklog.Exporter, sdktrace.SpanExporter, sdkmetric.Exporter, error) {
	if os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL") == "grpc" {
		logs, err := otlploggrpc.New(ctx)
		if err != nil {
			return nil, nil, nil, err
		}
		spans, err := otlptracegrpc.New(ctx)
		if err != nil {
			return nil, nil, nil, err
		}
		metrics, err := otlpmetricgrpc.New(ctx)
		return logs, spans, metrics, err
	}
	logs, err := otlploghttp.New(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	spans, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	metrics, err := otlpmetrichttp.New(ctx)
	return logs, spans, metrics, err
}

func emit(ctx context.Context, loggers log.LoggerProvider, tracers trace.TracerProvider, meters metric.MeterProvider) error {
	scope := attribute.Bool("scope", true)
	logger := loggers.Logger("example", log.WithInstrumentationVersion("1.0"),
		log.WithSchemaURL("https://example.com/logs"), log.WithInstrumentationAttributes(scope))
	tracer := tracers.Tracer("example", trace.WithInstrumentationVersion("1.0"),
		trace.WithSchemaURL("https://example.com/traces"), trace.WithInstrumentationAttributes(scope))
	meter := meters.Meter("example", metric.WithInstrumentationVersion("1.0"))
	requests, err := meter.Int64Counter("requests", metric.WithUnit("{request}"),
		metric.WithDescription("How many there were"))
	if err != nil {
		return err
	}
	duration, err := meter.Float64Histogram("duration", metric.WithUnit("ms"),
		metric.WithDescription("How long they took"))
	if err != nil {
		return err
	}
	for n := range count {
		outer, parent := tracer.Start(ctx, fmt.Sprintf("span %03d", n),
			trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attributes(n)...))
		inner, child := tracer.Start(outer, fmt.Sprintf("child %03d", n), trace.WithSpanKind(trace.SpanKindClient))
		child.AddEvent("halfway", trace.WithAttributes(attribute.Int("n", n)))
		if n%10 == 0 {
			child.SetStatus(codes.Error, "every tenth")
		}
		severity := severities[n%len(severities)]
		var record log.Record
		record.SetSeverity(severity)
		record.SetSeverityText(severity.String())
		record.SetBody(attribute.StringValue(fmt.Sprintf("record %03d", n)))
		record.SetEventName("example.event")
		record.AddAttributes(attributes(n)...)
		record.AddAttributes(
			attribute.KeyValue{Key: "bytes", Value: attribute.ByteSliceValue([]byte{0, 1, 0xfe, 0xff})},
			attribute.KeyValue{Key: "map", Value: attribute.MapValue(attribute.KeyValue{
				Key: "deep",
				Value: attribute.SliceValue(attribute.IntValue(1), attribute.StringValue("two"),
					attribute.MapValue(attribute.Float64("three", 3))),
			})},
			attribute.KeyValue{Key: "none"},
		)
		logger.Emit(inner, record)
		if n < len(durations) {
			duration.Record(inner, durations[n], metric.WithAttributes(attribute.Bool("even", n%2 == 0)))
		}
		child.End()
		parent.End()
	}
	requests.Add(ctx, count)
	return nil
}

// attributes is one of each kind of value that spans and log records share.
func attributes(n int) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("string", "ünïcode ☂ \"quoted\"\n"),
		attribute.String("empty", ""),
		attribute.Int("int", n),
		attribute.Int64("large", 1<<53+1),
		attribute.Float64("double", float64(n)+0.5),
		attribute.Bool("bool", n%2 == 0),
		attribute.StringSlice("strings", []string{"a", "b"}),
		attribute.IntSlice("ints", []int{1, -2, 3}),
		attribute.Float64Slice("doubles", []float64{0.5, 1e-300}),
		attribute.BoolSlice("bools", []bool{true, false}),
	}
}

// finish flushes all signals at once, shuts them down, and reports which of them were flushed.
func finish(ctx context.Context, providers map[string]provider) map[string]bool {
	report := make(map[string]bool)
	var lock sync.Mutex
	var flushes sync.WaitGroup
	for signal, provider := range providers {
		flushes.Go(func() {
			err := provider.ForceFlush(ctx)
			lock.Lock()
			defer lock.Unlock()
			report[signal] = err == nil
		})
	}
	flushes.Wait()
	for _, provider := range providers {
		// What is left to be told was told by the flush.
		_ = provider.Shutdown(ctx)
	}
	return report
}
