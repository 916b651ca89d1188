import { describe, expect, test } from 'vitest';
import { parseMetrics } from '../../loadtest/prometheus.js';
import { countersOf, workBetween } from '../../loadtest/server-counters.js';

interface Answers {
  readonly pipeline: string;
  readonly variant: string;
  readonly outcome: string;
  readonly count: number;
}

/** A scrape of a server that has answered so. */
function scrape(cpu: string, answers: readonly Answers[], restarts = 0): ReturnType<typeof countersOf> {
  const given = answers.filter(({ outcome }) => ['ok', 'cached'].includes(outcome));
  const sum = (variant: string): number =>
    given.reduce((all, one) => all + (one.variant === variant ? one.count : 0), 0);
  const lines = [
    cpu,
    ...answers.map(
      ({ outcome, count }, place) =>
        `whittle_requests_total{endpoint="e${place}",outcome="${outcome}"} ${count}`,
    ),
    ...given.map(
      ({ pipeline, count }, place) =>
        `whittle_answers_total{pipeline="${pipeline}",arm="a${place}"} ${count}`,
    ),
    `whittle_runner_restarts_total{runner="full"} ${restarts}`,
  ];
  const variants = ['full', 'int8'].map((name) => ({ name, requests: sum(name) }));
  return countersOf(parseMetrics(`${lines.join('\n')}\n`), variants);
}

const cpu = (gateway: number, full: number): string =>
  `whittle_process_cpu_seconds_total{process="gateway"} ${gateway}\nwhittle_process_cpu_seconds_total{process="full"} ${full}`;
const request = (pipeline: string, variant: string, outcome: string, count: number): Answers => ({
  pipeline,
  variant,
  outcome,
  count,
});

describe('parseMetrics', () => {
  // The text format's own example and its escapes: https://prometheus.io/docs/instrumenting/exposition_formats/
  test('reads labels, escapes, exponents and timestamps', () => {
    const text = [
      '# HELP http_requests_total The total number of HTTP requests.',
      '# TYPE http_requests_total counter',
      'http_requests_total{method="post",code="200"} 1027 1395066363000',
      'msdos_file_access_time_seconds{path="C:\\\\DIR\\\\FILE.TXT",error="Cannot find:\\n\\"F, {x}\\""} 1.458255915e9',
      'metric_without_timestamp_and_labels 12.47',
      'something_weird{problem="division by zero"} +Inf -3982045',
      '',
    ].join('\n');
    const samples = parseMetrics(text);
    expect(samples.slice(0, 3)).toEqual([
      { name: 'http_requests_total', labels: { method: 'post', code: '200' }, value: 1027 },
      {
        name: 'msdos_file_access_time_seconds',
        labels: { path: 'C:\\DIR\\FILE.TXT', error: 'Cannot find:\n"F, {x}"' },
        value: 1.458255915e9,
      },
      { name: 'metric_without_timestamp_and_labels', labels: {}, value: 12.47 },
    ]);
    expect(samples).toHaveLength(4);
  });
});

describe('workBetween', () => {
  const before = scrape(cpu(1, 2), [request('full', 'full', 'ok', 10), request('full', 'full', 'cached', 3)]);

  test('is the difference of counters, by process, pipeline, variant and outcome', () => {
    const after = scrape(cpu(1.1, 2.2), [
      request('full', 'full', 'ok', 25),
      request('full', 'full', 'cached', 4),
      request('full', 'none', 'ok', 2),
      request('int8', 'int8', 'ok', 7),
      request('int8', 'none', 'QUEUE_FULL', 5),
    ]);
    expect(workBetween(before, after)).toEqual({
      cpuSeconds: 0.3,
      cpuSecondsByProcess: { gateway: 0.1, full: 0.2 },
      answers: 25,
      cached: 1,
      answersByPipeline: { full: 18, int8: 7 },
      answersByVariant: { full: 16, none: 2, int8: 7 },
      failuresByCode: { QUEUE_FULL: 5 },
    });
  });

  test('leaves out what did not move', () => {
    expect(workBetween(before, before)).toMatchObject({
      answers: 0,
      answersByPipeline: {},
      failuresByCode: {},
    });
  });

  test('has no CPU time where a runner was replaced or is gone', () => {
    const replaced = scrape(cpu(2, 3), [request('full', 'full', 'ok', 20)], 1);
    expect(workBetween(before, replaced)).not.toHaveProperty('cpuSeconds');
    const gone = scrape('whittle_process_cpu_seconds_total{process="gateway"} 2', [
      request('full', 'full', 'ok', 20),
    ]);
    expect(workBetween(before, gone)).not.toHaveProperty('cpuSeconds');
  });

  test('has no CPU time where the server tells none', () => {
    const silent = scrape('', [request('full', 'full', 'ok', 20)]);
    expect(workBetween(silent, silent)).not.toHaveProperty('cpuSeconds');
  });
});
