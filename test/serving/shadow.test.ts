import { describe, expect, it } from 'vitest';
import { completeConfig, createRandom, must, type PipelineSpec } from '../../src/core/index.js';
import type { OpenBundle } from '../../src/serving/bundle.js';
import { EvidenceBook } from '../../src/serving/evidence.js';
import type { Fleet } from '../../src/serving/fleet.js';
import type { Pipeline } from '../../src/serving/pipeline.js';
import { Shadow, type ShadowedAnswer } from '../../src/serving/shadow.js';
import type { LiveRetention, Observation } from '../../src/serving/index.js';

const ROWS = Int32Array.from({ length: 40 }, (_, place) => 3 * place);
const VARIANTS = ['full', 'int8', 'pruned'];

/** Scores by which each variant orders the candidates. */
const SCORES = Object.fromEntries(
  VARIANTS.map((variant, seed) => {
    const random = createRandom(seed);
    return [variant, Float32Array.from(ROWS, () => random.normal())];
  }),
);

interface Bench {
  readonly shadow: Shadow;
  readonly seen: Observation[];
  /** Variants whose runner ranked a shadow, in order. */
  readonly ranked: string[];
  serve(pipeline: string, request?: Partial<ShadowedAnswer['request']>): Promise<void>;
  /** The user engages with the best item of a variant's order. */
  click(variant: string, user?: string): void;
}

function bench(degradation: boolean, broken?: string): Bench {
  const ranked: string[] = [];
  const specs: Readonly<Record<string, PipelineSpec>> = {
    ...Object.fromEntries(VARIANTS.map((ranker) => [ranker, { ranker, candidates: 40, recommend: 't' }])),
    short: { ranker: 'full', candidates: 20, recommend: 't' },
  };
  const rankers = new Map(
    VARIANTS.map((variant) => [
      variant,
      {
        rankWhenIdle: () => {
          ranked.push(variant);
          return variant === broken
            ? Promise.reject(new Error('broken'))
            : Promise.resolve({ result: SCORES[variant], queueMs: 0, runMs: 1 });
        },
      },
    ]),
  );
  const pipelines = new Map(
    Object.entries(specs).map(([name, spec]) => [name, { name, spec, ranker: { variant: spec.ranker } }]),
  );
  const bundle = {
    manifest: {
      variants: Object.fromEntries(VARIANTS.map((name) => [name, { file: name }])),
      files: Object.fromEntries(VARIANTS.map((name) => [name, { sha256: name, bytes: 1 }])),
    },
    models: new Map(VARIANTS.map((name) => [name, { files: [name], graphBytes: 1, weightBytes: 0 }])),
  };
  const seen: Observation[] = [];
  const shadow = new Shadow({
    config: completeConfig({ shadow: { share: 1 }, overload: { degradation: { enabled: degradation } } }),
    bundle: bundle as unknown as OpenBundle,
    fleet: { rankers, pipelines } as unknown as Fleet,
    evidence: new EvidenceBook(),
    observe: (observation) => seen.push(observation),
    now: () => 1_000,
  });
  return {
    shadow,
    seen,
    ranked,
    serve: async (name, request = { user: 'u' }) => {
      const pipeline = must(pipelines.get(name), name) as unknown as Pipeline;
      const variant = must(pipeline.spec.ranker, 'ranker');
      const scores = must(SCORES[variant], variant);
      const ranking = { variant, rows: ROWS, job: { inputs: {}, rows: ROWS.length }, scores };
      shadow.consider({ request: { requestId: 'r', timeMs: 1_000, ...request }, pipeline, ranking });
      await new Promise(setImmediate);
    },
    click: (variant, user = 'u') => {
      const scores = must(SCORES[variant], variant);
      const row = must(ROWS[scores.indexOf(Math.max(...scores))], 'row');
      shadow.engage({ user, row, timeMs: 1_000 });
    },
  };
}

const nothing: LiveRetention = { pairs: 0, users: 0 };
const shadowed = ({ seen }: Bench): string[] =>
  seen.map((one) => ('variant' in one ? `${one.kind} ${one.variant}` : one.kind));

describe('without degradation', () => {
  it('a variant is ranked by full, and full by nobody', async () => {
    const made = bench(false);
    await made.serve('int8');
    await made.serve('full');
    made.click('full');
    expect(made.ranked).toEqual(['full']);
    expect(shadowed(made)).toEqual(['shadow int8']);
    expect(made.shadow.fidelity('int8').count).toBe(1);
    expect(VARIANTS.map((variant) => made.shadow.retention(variant))).toEqual([nothing, nothing, nothing]);
  });
});

describe('with degradation', () => {
  it('an answer of full is ranked by each of the others in turn of chance, whose retention labels give', async () => {
    const made = bench(true);
    for (let user = 0; user < 40; user++) await made.serve('full', { user: `u${user}` });
    for (let user = 0; user < 40; user++) made.click('full', `u${user}`);
    const counts = ['int8', 'pruned'].map((variant) => made.shadow.retention(variant).pairs);
    expect(Math.min(...counts)).toBeGreaterThan(10);
    expect(counts).toEqual(['int8', 'pruned'].map((variant) => made.shadow.fidelity(variant).count));
    expect(counts).toEqual(
      ['int8', 'pruned'].map((variant) => made.ranked.filter((one) => one === variant).length),
    );
    expect(made.ranked).not.toContain('full');
    expect(counts.reduce((sum, count) => sum + count)).toBe(40);
    // One click on full's best item gives full an NDCG of 1 each time.
    const place = Array.from(must(SCORES['int8'], 'int8'))
      .map((score, index): [number, number] => [score, index])
      .sort(([a], [b]) => b - a)
      .findIndex(
        ([, index]) =>
          index === must(SCORES['full'], 'full').indexOf(Math.max(...must(SCORES['full'], 'full'))),
      );
    const expected = place < 10 ? 1 / Math.log2(place + 2) : 0;
    expect(made.shadow.retention('int8').mean).toBeCloseTo(expected, 12);
  });

  it('a variant is not judged by an answer of its own, which favours it', async () => {
    const made = bench(true);
    await made.serve('int8');
    made.click('int8');
    expect(made.ranked).toEqual(['full', 'pruned']);
    expect(shadowed(made)).toEqual(['shadow int8', 'shadow pruned']);
    expect(made.shadow.retention('int8')).toEqual(nothing);
    expect(made.shadow.retention('pruned').pairs).toBe(1);
  });

  it('a pipeline that nobody else can stand in for is left alone', async () => {
    const made = bench(true);
    await made.serve('short');
    expect(made.ranked).toEqual([]);
  });

  it('a forced request and one without a user give fidelity, but no retention', async () => {
    const made = bench(true);
    await made.serve('full', { user: 'u', forcedPipeline: 'full' });
    await made.serve('full', {});
    made.click('full');
    expect(made.seen.map(({ kind }) => kind)).toEqual(['shadow', 'shadow']);
    expect([made.shadow.retention('int8'), made.shadow.retention('pruned')]).toEqual([nothing, nothing]);
  });

  it('a shadow that fails is counted and leaves nothing', async () => {
    const made = bench(true, 'full');
    await made.serve('int8');
    made.click('full');
    expect(shadowed(made)).toEqual(['shadow_dropped int8']);
    expect(VARIANTS.map((variant) => made.shadow.retention(variant))).toEqual([nothing, nothing, nothing]);
  });
});
