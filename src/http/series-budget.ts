/** Most time series that a scrape may hold; each one costs whoever collects it. */
export const MAX_SERIES = 500;

/** Series whose labels follow from the code: routes, statuses, endpoints, outcomes, stages, the process itself. */
const FIXED_SERIES = 250;

/** Series that one more value of a label brings with it. */
const COST = { pipeline: 12, arm: 1, runner: 8, variant: 20 };
export type LabelKind = keyof typeof COST;

/** What names are counted as once there is no room for more. */
export const OTHER = 'other';

/**
 * Names of pipelines, arms, runners and variants come from the bundle and the configuration, which may hold any number
 * of them, and change while the server runs. The first keep their own series; what comes when the room is used up is
 * counted together as `other`.
 */
export class SeriesBudget {
  readonly #known: Readonly<Record<LabelKind, Set<string>>> = {
    pipeline: new Set(),
    arm: new Set(),
    runner: new Set(),
    variant: new Set(),
  };
  #left = MAX_SERIES - FIXED_SERIES - Object.values(COST).reduce((sum, cost) => sum + cost);

  /** The label to count a name under. */
  label(kind: LabelKind, name: string): string {
    const known = this.#known[kind];
    if (known.has(name)) return name;
    if (this.#left < COST[kind]) return OTHER;
    this.#left -= COST[kind];
    known.add(name);
    return name;
  }
}
