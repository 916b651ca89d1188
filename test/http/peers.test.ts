import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import {
  addPast,
  mergeExperiments,
  mergeMetrics,
  mergeVariants,
  type GatewayReport,
} from '../../src/http/peers.js';
import type { LiveFidelity, RunnerStatus, VariantStatus } from '../../src/serving/index.js';
import { meanInterval, meanStatistics } from '../../src/statistics/index.js';

const runner: RunnerStatus = {
  name: 'full',
  state: 'ready',
  pid: 1,
  restarts: 1,
  queued: 2,
  privateBytes: 100,
  sharedBytes: 40,
  cpuSeconds: 3,
  processes: [],
};
const variant: VariantStatus = {
  name: 'full',
  file: 'full.onnx',
  fileBytes: 10,
  sharedWeightBytes: 0,
  runner,
  requests: 5,
  fidelity: { count: 0 },
  retention: { pairs: 3, users: 2, mean: 0.9 },
};

function report(changes: Partial<GatewayReport>): GatewayReport {
  return { pid: 1, variants: [], experiments: [], metrics: [], ...changes };
}

function fidelityOf(samples: readonly number[]): LiveFidelity {
  const interval = meanInterval(meanStatistics(samples));
  return { count: samples.length, overlapAt10: interval, ndcgAt10: interval, scoreError: interval };
}

describe('variants of all gateways', () => {
  test('traffic and private memory add up, what is shared does not, a runner that is out shows', () => {
    const out: RunnerStatus = { ...runner, state: 'failed', reason: 'it crashed', sharedBytes: 60 };
    const [merged] = mergeVariants([
      report({ variants: [{ ...variant, latency: { p50Ms: 1, p90Ms: 5, p99Ms: 6 } }] }),
      report({
        variants: [
          {
            ...variant,
            runner: out,
            retention: { pairs: 4, users: 1 },
            latency: { p50Ms: 2, p90Ms: 3, p99Ms: 9 },
          },
        ],
      }),
      report({ variants: [variant] }),
    ]);
    expect(merged).toMatchObject({
      requests: 15,
      latency: { p50Ms: 2, p90Ms: 5, p99Ms: 9 },
      retention: { pairs: 4, users: 1 },
      runner: {
        state: 'failed',
        reason: 'it crashed',
        restarts: 3,
        queued: 6,
        privateBytes: 300,
        sharedBytes: 60,
        cpuSeconds: 9,
      },
    });
    expect(merged?.runner).not.toHaveProperty('pid');
  });

  test('fidelity is that of all samples together', () => {
    const samples = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 2, maxLength: 30 });
    fc.assert(
      fc.property(fc.array(samples, { minLength: 1, maxLength: 4 }), (parts) => {
        const reports = parts.map((part) =>
          report({ variants: [{ ...variant, fidelity: fidelityOf(part) }] }),
        );
        const merged = mergeVariants(reports)[0]?.fidelity.ndcgAt10;
        const expected = fidelityOf(parts.flat()).ndcgAt10;
        expect(merged?.mean).toBeCloseTo(expected?.mean ?? NaN, 9);
        if (expected?.high === undefined) return;
        expect(merged?.low).toBeCloseTo(expected.low ?? NaN, 6);
        expect(merged?.high).toBeCloseTo(expected.high, 6);
      }),
      { seed: 1 },
    );
    expect(mergeVariants([report({ variants: [variant] })])[0]?.fidelity).toEqual({ count: 0 });
  });
});

test('experiments of all gateways: requests add up, users are at least those of one', () => {
  const arm = { name: 'a', weight: 1, share: 1, pipeline: 'full', requests: 4, users: 3 };
  const experiment = { name: 'e', enabled: true, salt: 's', arms: [arm] };
  const other = { ...experiment, arms: [{ ...arm, requests: 6, users: 2 }] };
  const merged = mergeExperiments([report({ experiments: [experiment] }), report({ experiments: [other] })]);
  expect(merged).toEqual([{ ...experiment, arms: [{ ...arm, requests: 10, users: 3 }] }]);
});

describe('metrics of all gateways', () => {
  async function metricsOf(count: number): Promise<readonly object[]> {
    const registers = [new Registry()];
    new Counter({ name: 'c_total', help: 'c', labelNames: ['l'], registers }).inc({ l: 'x' }, count);
    new Gauge({ name: 'g', help: 'g', registers }).set(count);
    new Histogram({ name: 'h', help: 'h', buckets: [1, 10], registers }).observe(count);
    return registers[0]?.getMetricsAsJSON() ?? [];
  }

  test('are sums; what ended gateways counted stays, their gauges do not', async () => {
    let past = await addPast([], await metricsOf(100));
    past = await addPast(past, await metricsOf(2));
    const reports = [report({ metrics: await metricsOf(5) }), report({ metrics: await metricsOf(7) })];
    const text = await mergeMetrics({ reports, past });
    const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    expect(lines).toEqual([
      'c_total{l="x"} 114',
      'g 12',
      'h_bucket{le="1"} 0',
      'h_bucket{le="10"} 3',
      'h_bucket{le="+Inf"} 4',
      'h_sum 114',
      'h_count 4',
    ]);
  });
});
