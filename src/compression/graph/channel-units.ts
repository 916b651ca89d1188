/** Unit of each index along an axis; {@link FIXED} for one that cannot go. */
export type Labels = Int32Array;

/** Label of an index that no unit stands for. */
export const FIXED = -1;

/** What a family of units runs through, which decides who may prune it and how it is repaired. */
export interface FamilyTraits {
  /** Several values are summed in it, or a table feeds it: the width of a residual stream. */
  readonly stream: boolean;
  /** Batched products run along it: attention heads. */
  readonly heads: boolean;
  /** Statistics over its units are taken, so that what is left changes when some go. */
  readonly normalised: boolean;
}

/**
 * Disjoint sets of channels that must go together (dependency graph of Fang et al. 2023, over single indexes). Labels
 * name units; units joined by the graph have one root, and families are the units that belong to the same layers.
 */
export class ChannelUnits {
  readonly #parents: number[] = [];
  readonly #reasons = new Map<number, string>();
  readonly #familyOfUnit: number[] = [];
  readonly #familyParents: number[] = [];
  readonly #traits: Set<keyof FamilyTraits>[] = [];

  /** `count` units of a new family. */
  add(count: number): Labels {
    const family = this.#familyParents.length;
    this.#familyParents.push(family);
    this.#traits.push(new Set());
    return Int32Array.from({ length: count }, () => {
      this.#familyOfUnit.push(family);
      return this.#parents.push(this.#parents.length) - 1;
    });
  }

  /** The unit that stands for all that are joined with this one. */
  root(unit: number): number {
    return rootIn(this.#parents, unit);
  }

  family(unit: number): number {
    return rootIn(this.#familyParents, this.#familyOfUnit[unit] ?? 0);
  }

  /** Joins labels index by index. What is joined with a fixed index stays for `reason`. Answers whether any was new. */
  join(first: Labels, second: Labels, reason: string): boolean {
    let joined = false;
    first.forEach((a, index) => {
      const b = second[index] ?? FIXED;
      if (a === FIXED || b === FIXED) this.block([a, b], reason);
      else joined = this.joinUnits(a, b) || joined;
    });
    return joined;
  }

  /** Joins two units and their families. */
  joinUnits(a: number, b: number): boolean {
    this.#joinFamilies(this.family(a), this.family(b));
    const [from, to] = [this.root(a), this.root(b)];
    if (from === to) return false;
    const reason = this.#reasons.get(from) ?? this.#reasons.get(to);
    this.#parents[from] = to;
    if (reason !== undefined) this.#reasons.set(to, reason);
    return true;
  }

  /** Says why units must stay; the first reason counts. */
  block(labels: Iterable<number>, reason: string): void {
    for (const unit of labels)
      if (unit !== FIXED && !this.#reasons.has(this.root(unit))) this.#reasons.set(this.root(unit), reason);
  }

  /** Why the unit must stay; undefined where it may go. */
  reason(unit: number): string | undefined {
    return this.#reasons.get(this.root(unit));
  }

  mark(labels: Iterable<number>, trait: keyof FamilyTraits): void {
    for (const unit of labels) if (unit !== FIXED) this.#traits[this.family(unit)]?.add(trait);
  }

  traits(family: number): FamilyTraits {
    const has = this.#traits[rootIn(this.#familyParents, family)];
    const of = (trait: keyof FamilyTraits): boolean => has?.has(trait) === true;
    return { stream: of('stream'), heads: of('heads'), normalised: of('normalised') };
  }

  #joinFamilies(a: number, b: number): void {
    if (a === b) return;
    this.#familyParents[a] = b;
    for (const trait of this.#traits[a] ?? []) this.#traits[b]?.add(trait);
  }
}

function rootIn(parents: number[], start: number): number {
  let at = start;
  for (let parent = parents[at]; parent !== undefined && parent !== at; parent = parents[at]) {
    // Halves the path, so that later searches are short.
    parents[at] = parents[parent] ?? parent;
    at = parent;
  }
  return at;
}
