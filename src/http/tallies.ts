import { Counter, Histogram, type MetricValueWithName, type Registry } from 'prom-client';

/**
 * Counters and histograms whose hot side is a map look-up and an addition. prom-client's own sort and join the labels at
 * every call, ten times a request; here it sees the figures when it is asked for them.
 */

interface Count {
  readonly labels: Readonly<Record<string, string>>;
  value: number;
}

/** A counter by label values. */
export class CounterTally {
  readonly #labelNames: readonly string[];
  readonly #counts = new Map<string, Count>();

  constructor(registry: Registry, name: string, help: string, labelNames: string[]) {
    this.#labelNames = labelNames;
    const counts = this.#counts;
    new Counter({
      name,
      help,
      labelNames,
      registers: [registry],
      collect() {
        this.reset();
        for (const { labels, value } of counts.values()) this.inc(labels, value);
      },
    });
  }

  /** @param values of the labels, in order. */
  inc(...values: readonly string[]): void {
    const key = values.join('\n');
    const known = this.#counts.get(key);
    if (known === undefined) this.#counts.set(key, { labels: labelled(this.#labelNames, values), value: 1 });
    else known.value += 1;
  }
}

/** Observations of one label value. */
class Buckets {
  /** Observations by the bucket they are in, not cumulative; the last is beyond every bound. */
  readonly counts: Float64Array;
  readonly #bounds: readonly number[];
  sum = 0;

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    let bucket = 0;
    while (bucket < this.#bounds.length && value > (this.#bounds[bucket] ?? 0)) bucket += 1;
    this.counts[bucket] = (this.counts[bucket] ?? 0) + 1;
    this.sum += value;
  }
}

/** prom-client's own samples of a histogram; as plain data it reads `sharedLabels`, so they must be there. */
type Sample = MetricValueWithName<string> & { readonly sharedLabels: object };

/** A histogram by the value of at most one label. */
export class HistogramTally extends Histogram {
  readonly #name: string;
  readonly #help: string;
  readonly #label: string | undefined;
  readonly #bounds: readonly number[];
  readonly #series = new Map<string, Buckets>();

  constructor(registry: Registry, name: string, help: string, bounds: number[], label?: string) {
    super({
      name,
      help,
      buckets: bounds,
      labelNames: label === undefined ? [] : [label],
      registers: [registry],
    });
    this.#name = name;
    this.#help = help;
    this.#label = label;
    this.#bounds = bounds;
  }

  /** @param value of the label. */
  tally(observed: number, value = ''): void {
    let buckets = this.#series.get(value);
    if (buckets === undefined) {
      buckets = new Buckets(this.#bounds);
      this.#series.set(value, buckets);
    }
    buckets.observe(observed);
  }

  /** What prom-client asks a histogram for, whether it writes text or plain data. */
  getForPromString(): Promise<object> {
    const values = [...this.#series].flatMap(([value, buckets]) =>
      this.#samples(this.#label === undefined ? {} : { [this.#label]: value }, buckets),
    );
    return Promise.resolve({
      name: this.#name,
      help: this.#help,
      type: 'histogram',
      aggregator: 'sum',
      values,
    });
  }

  #samples(labels: Readonly<Record<string, string>>, buckets: Buckets): Sample[] {
    let count = 0;
    const samples = [...this.#bounds, '+Inf'].map((le, place) => {
      count += buckets.counts[place] ?? 0;
      return {
        metricName: `${this.#name}_bucket`,
        labels: { le, ...labels },
        value: count,
        sharedLabels: {},
      };
    });
    return [
      ...samples,
      { metricName: `${this.#name}_sum`, labels, value: buckets.sum, sharedLabels: {} },
      { metricName: `${this.#name}_count`, labels, value: count, sharedLabels: {} },
    ];
  }
}

function labelled(names: readonly string[], values: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name, place) => [name, values[place] ?? '']));
}
