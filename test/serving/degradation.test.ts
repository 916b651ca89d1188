import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createLog, must, type PipelineSpec } from '../../src/core/index.js';
import { createExperiments } from '../../src/experiments/index.js';
import { Degradation } from '../../src/serving/degradation.js';
import type { Generation } from '../../src/serving/generation.js';
import type { Pipeline } from '../../src/serving/pipeline.js';
import { routeRequest, type Route } from '../../src/serving/routing.js';
import type { LiveRetention } from '../../src/serving/index.js';

/** A ranker as far as degradation looks at it, for the test to change. */
interface Runner {
  costMs: number;
  isSaturated: boolean;
  waitMs: number;
  state: string;
}

interface World {
  readonly degradation: Degradation;
  readonly runners: Readonly<Record<string, Runner>>;
  readonly retention: Record<string, LiveRetention>;
  readonly clock: { nowMs: number };
  readonly lines: Record<string, unknown>[];
  generation: Generation;
  /** Ticks for so many seconds. */
  run(seconds: number): void;
  /** A generation of new pipelines over the same rankers. */
  renew(): void;
}

const enough: LiveRetention = { pairs: 200, users: 150, mean: 0.995, low: 0.985 };
const shape: PipelineSpec = { candidates: 100, recommend: 'tower' };
const specs: Readonly<Record<string, PipelineSpec>> = {
  full: { ranker: 'full', ...shape },
  int8: { ranker: 'int8', ...shape },
  pruned: { ranker: 'pruned', ...shape },
  short: { ranker: 'int8', ...shape, candidates: 50 },
  retrieval: shape,
};

function generationOf(runners: World['runners'], retention: World['retention']): Generation {
  const pipelines = new Map(
    Object.entries(specs).map(([name, spec]) => [name, pipelineOf(name, spec, runners)]),
  );
  const parts = {
    bundle: { manifest: { defaultPipeline: 'full' } },
    fleet: { pipelines, pipeline: (name: string) => must(pipelines.get(name), name) },
    shadow: { retention: (variant: string) => retention[variant] ?? { pairs: 0, users: 0 } },
  };
  return parts as unknown as Generation;
}

function pipelineOf(name: string, spec: PipelineSpec, runners: World['runners']): Pipeline {
  if (spec.ranker === undefined) return { name, spec, ranker: undefined } as unknown as Pipeline;
  const known = must(runners[spec.ranker], spec.ranker);
  const runner = {
    saturated: () => known.isSaturated,
    cpuMs: (rows: number) => (known.costMs * rows) / 100,
    oldestWaitMs: () => known.waitMs,
    status: () => ({ state: known.state }),
  };
  return { name, spec, ranker: { variant: spec.ranker, runner } } as unknown as Pipeline;
}

function world(): World {
  const runner = (costMs: number): Runner => ({ costMs, isSaturated: false, waitMs: 0, state: 'ready' });
  const runners = { full: runner(4), int8: runner(2), pruned: runner(1) };
  const retention: World['retention'] = { int8: enough, pruned: enough };
  const clock = { nowMs: 0 };
  const lines: World['lines'] = [];
  const made: World = {
    degradation: new Degradation({
      config: { enabled: true, queueMs: 10, retentionFloor: 0.98, minPairs: 200 },
      log: createLog({}, (line) => lines.push(JSON.parse(line) as Record<string, unknown>)),
      generation: () => made.generation,
      defaultPipeline: () => 'full',
      now: () => clock.nowMs,
    }),
    runners,
    retention,
    clock,
    lines,
    generation: generationOf(runners, retention),
    run: (seconds) => {
      for (let tick = 0; tick < seconds * 4; tick++) {
        clock.nowMs += 250;
        made.degradation.tick();
      }
    },
    renew: () => {
      made.generation = generationOf(runners, retention);
    },
  };
  return made;
}

const none = createExperiments([]);
const routeIn = (
  { generation, degradation }: World,
  user: string,
  more: { forcedPipeline?: string } = {},
  experiments = none,
): Route =>
  routeRequest(generation, experiments, { requestId: 'r', k: 10, user, ...more }, degradation.takeover);

const users = Array.from({ length: 1_000 }, (_, user) => `u${user}`);
const movedShare = (made: World): number =>
  users.filter((user) => routeIn(made, user).degradedFrom !== undefined).length / users.length;

describe('the pipeline that takes over', () => {
  it('is the cheapest one that may', () => {
    const made = world();
    made.run(1);
    expect(made.degradation.status()).toEqual({
      enabled: true,
      from: 'full',
      to: 'pruned',
      share: 0,
      queueMs: 0,
      candidates: [
        { pipeline: 'int8', eligible: true },
        { pipeline: 'pruned', eligible: true },
      ],
    });
  });

  const cases: [string, (made: World) => void, string][] = [
    ['few pairs', ({ retention }) => (retention['pruned'] = { ...enough, pairs: 37 }), '37 of 200 pairs'],
    ['no pair', ({ retention }) => (retention['pruned'] = { pairs: 0, users: 0 }), '0 of 200 pairs'],
    [
      'pairs of one user',
      ({ retention }) => (retention['pruned'] = { pairs: 200, users: 1, mean: 1 }),
      'no lower bound from 200 pairs',
    ],
    [
      'a low bound',
      ({ retention }) => (retention['pruned'] = { ...enough, low: 0.94 }),
      'lower bound 0.9400 below 0.98',
    ],
    [
      'a runner that is out',
      ({ runners }) => Object.assign(must(runners['pruned'], 'pruned'), { state: 'failed' }),
      'its runner is failed',
    ],
    [
      'a higher cost',
      ({ runners }) => Object.assign(must(runners['pruned'], 'pruned'), { costMs: 4 }),
      'not cheaper: 4.000 ms of CPU a request against 4.000 ms',
    ],
  ];
  it.each(cases)('is never one with %s', (_, change, reason) => {
    const made = world();
    change(made);
    must(made.runners['full'], 'full').waitMs = 50;
    made.run(10);
    expect(made.degradation.status()).toMatchObject({
      to: 'int8',
      candidates: [{ eligible: true }, { pipeline: 'pruned', eligible: false, reason }],
    });
    expect(movedShare(made)).toBe(1);
    expect(new Set(users.map((user) => routeIn(made, user).pipeline.name))).toEqual(new Set(['int8']));
  });

  it('is nobody where nobody may: nothing moves, and the log says why once a minute', () => {
    const made = world();
    made.retention['int8'] = { ...enough, pairs: 37 };
    made.retention['pruned'] = { ...enough, low: 0.94 };
    Object.assign(must(made.runners['full'], 'full'), { waitMs: 50, isSaturated: true });
    made.run(70);
    expect(movedShare(made)).toBe(0);
    expect(made.lines.map(({ event, reasons }) => [event, reasons])).toEqual(
      Array(2).fill([
        'degradation_impossible',
        ['int8: 37 of 200 pairs', 'pruned: lower bound 0.9400 below 0.98'],
      ]),
    );
  });

  it('is left at once where its quality is in doubt', () => {
    const made = world();
    must(made.runners['full'], 'full').waitMs = 50;
    made.run(10);
    made.retention['pruned'] = { ...enough, low: 0.97 };
    made.retention['int8'] = { ...enough, low: 0.97 };
    made.run(0.25);
    expect(movedShare(made)).toBe(0);
    expect(made.lines.slice(-2)).toMatchObject([
      { event: 'degradation_impossible' },
      { event: 'degradation', from: 'full', to: 'pruned', share: 0 },
    ]);
  });

  it('is not replaced by one that is a little cheaper', () => {
    const made = world();
    made.run(1);
    Object.assign(must(made.runners['int8'], 'int8'), { costMs: 0.9 });
    made.run(1);
    expect(made.degradation.status().to).toBe('pruned');
    Object.assign(must(made.runners['int8'], 'int8'), { costMs: 0.7 });
    made.run(1);
    expect(made.degradation.status().to).toBe('int8');
  });

  it('of a bundle that was replaced is not trusted before it is looked at anew', () => {
    const made = world();
    must(made.runners['full'], 'full').waitMs = 50;
    made.run(10);
    made.renew();
    made.retention['pruned'] = { pairs: 0, users: 0 };
    made.retention['int8'] = { pairs: 0, users: 0 };
    expect(movedShare(made)).toBe(0);
    made.run(1);
    expect(movedShare(made)).toBe(0);
  });
});

describe('what moves', () => {
  it('grows by a tenth of the users at a time, the same ones first, and goes back', () => {
    const made = world();
    made.run(1);
    expect(movedShare(made)).toBe(0);
    must(made.runners['full'], 'full').waitMs = 10.1;
    let before: string[] = [];
    for (let step = 1; step <= 10; step++) {
      made.run(0.5);
      const moved = users.filter((user) => routeIn(made, user).degradedFrom === 'full');
      expect(Math.abs(moved.length / users.length - step / 10)).toBeLessThan(0.05);
      expect(moved).toEqual(expect.arrayContaining(before));
      before = moved;
    }
    must(made.runners['full'], 'full').waitMs = 2.4;
    made.run(15);
    expect(movedShare(made)).toBe(0);
    expect(made.lines.map(({ event, share }) => [event, share])).toEqual(
      [
        ...Array.from({ length: 10 }, (_, step) => (step + 1) / 10),
        ...Array.from({ length: 10 }, (_, step) => (9 - step) / 10),
      ].map((share) => ['degradation', share]),
    );
  });

  it('follows the time in the queue of the runs of the last second, of this ranker alone', () => {
    const made = world();
    made.run(1);
    const ran = (runner: string, queueMs: number): void => {
      made.degradation.watch({ kind: 'batch', runner, jobs: 1, rows: 1, runMs: 1, queueMs });
    };
    for (let run = 0; run < 8; run++) ran('full', 1);
    for (let run = 0; run < 2; run++) ran('full', 12);
    ran('int8', 90);
    made.run(0.25);
    expect(made.degradation.status()).toMatchObject({ queueMs: 12, share: 0.1 });
    made.run(1);
    expect(made.degradation.status()).toMatchObject({ queueMs: 0, share: 0.2 });
  });

  it('is who would be refused, whatever the share, while the one that takes over has room', () => {
    const made = world();
    made.run(1);
    must(made.runners['full'], 'full').isSaturated = true;
    expect(movedShare(made)).toBe(1);
    must(made.runners['pruned'], 'pruned').isSaturated = true;
    expect(movedShare(made)).toBe(0);
    made.degradation.watch({ kind: 'failure', endpoint: 'rank', code: 'OVERLOADED', pipeline: 'full' });
    must(made.runners['full'], 'full').isSaturated = false;
    made.run(0.25);
    expect(made.degradation.status().share, 'a refusal moves traffic').toBe(0.1);
  });

  it('is never a user of an experiment or a forced request', () => {
    const arms = fc.array(
      fc.record({ weight: fc.integer({ min: 0, max: 3 }), pipeline: fc.constantFrom(...Object.keys(specs)) }),
      { minLength: 1, maxLength: 4 },
    );
    fc.assert(
      fc.property(
        arms.filter((list) => list.some(({ weight }) => weight > 0)),
        fc.string({ minLength: 1 }),
        fc.constantFrom(...Object.keys(specs)),
        fc.boolean(),
        fc.integer({ min: 0, max: 12 }),
        (list, user, forcedPipeline, isSaturated, seconds) => {
          const made = world();
          Object.assign(must(made.runners['full'], 'full'), { waitMs: 50, isSaturated });
          made.run(seconds / 2);
          const named = list.map((one, place) => ({ name: `a${place}`, ...one }));
          const experiments = createExperiments([{ name: 'e', salt: 's', enabled: true, arms: named }]);
          const route = routeIn(made, user, {}, experiments);
          expect(route.assignment).toEqual(experiments.assign(user));
          expect(route.pipeline.name).toBe(route.assignment?.pipeline);
          expect(route.degradedFrom).toBeUndefined();
          const forced = routeIn(made, user, { forcedPipeline });
          expect([forced.pipeline.name, forced.degradedFrom]).toEqual([forcedPipeline, undefined]);
        },
      ),
    );
  });
});
