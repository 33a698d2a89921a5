// Emits a bit of everything through OpenTelemetry's SDK for Node.js, as OTEL_EXPORTER_OTLP_* say.
import { SpanKind, SpanStatusCode, metrics, trace } from '@opentelemetry/api';
import { SeverityNumber, logs } from '@opentelemetry/api-logs';
import { NodeSDK } from '@opentelemetry/sdk-node';

const COUNT = 100;
// One for each bucket, since SDKs keep a random exemplar of several.
const DURATIONS = [1, 7, 20, 40, 60, 90, 200, 400, 600, 900];
const SEVERITIES = ['DEBUG', 'INFO', 'WARN', 'ERROR'];

const sdk = new NodeSDK();
sdk.start();

const logger = logs.getLogger('example', '1.0', { schemaUrl: 'https://example.com/logs' });
const tracer = trace.getTracer('example', '1.0', { schemaUrl: 'https://example.com/traces' });
const meter = metrics.getMeter('example', '1.0');
const requests = meter.createCounter('requests', { unit: '{request}', description: 'How many there were' });
const duration = meter.createHistogram('duration', { unit: 'ms', description: 'How long they took' });

// One of each kind of value that spans and log records share.
const attributes = (n) => ({
  string: 'ünïcode ☂ "quoted"\n',
  empty: '',
  int: n,
  large: Number.MAX_SAFE_INTEGER,
  double: n + 0.5,
  bool: n % 2 === 0,
  strings: ['a', 'b'],
  ints: [1, -2, 3],
  doubles: [0.5, 1e-300],
  bools: [true, false],
});

for (let n = 0; n < COUNT; n++) {
  const number = String(n).padStart(3, '0');
  tracer.startActiveSpan(`span ${number}`, { kind: SpanKind.SERVER, attributes: attributes(n) }, (parent) => {
    tracer.startActiveSpan(`child ${number}`, { kind: SpanKind.CLIENT }, (child) => {
      child.addEvent('halfway', { n });
      if (n % 10 === 0) {
        child.setStatus({ code: SpanStatusCode.ERROR, message: 'every tenth' });
      }
      const severity = SEVERITIES[n % SEVERITIES.length];
      const bytes = new Uint8Array([0, 1, 0xfe, 0xff]);
      logger.emit({
        severityNumber: SeverityNumber[severity],
        severityText: severity,
        body: `record ${number}`,
        attributes: { ...attributes(n), bytes, map: { deep: [1, 'two', { three: 3.5 }] }, none: null },
        eventName: 'example.event',
      });
      if (n < DURATIONS.length) {
        duration.record(DURATIONS[n], { even: n % 2 === 0 });
      }
      child.end();
    });
    parent.end();
  });
}
requests.add(COUNT);

// This flushes all three signals at once.
const shutDown = await sdk.shutdown().then(() => true, () => false);
console.log(JSON.stringify({ shutDown }));
