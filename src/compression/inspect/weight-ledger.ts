import type { Model, Node } from '../../onnx/index.js';
import { readElsewhere, storedName } from '../graph/other-readers.js';
import { definingScope } from '../graph/scopes.js';
import type { Scope } from '../graph/scopes.js';
import type { WeightKind } from '../graph/weight-uses.js';
import { constantsOf } from '../measure/model-stats.js';
import type { Constant } from '../measure/model-stats.js';

/** Bytes of a model's constants by what they are for. */
export type KindBytes = Readonly<Record<WeightKind, number>>;

/** Bytes of all kinds. */
export function sumOf({ dense, table, conv, other }: KindBytes): number {
  return dense + table + conv + other;
}

/** Works out a model's bytes after some of its constants were stored in another way. */
export class WeightLedger {
  readonly #constants: readonly Constant[];
  readonly #bytes: Record<WeightKind, number> = { dense: 0, table: 0, conv: 0, other: 0 };
  readonly #taken = new Set<Constant>();
  readonly #stored = new Map<Constant, Set<string>>();

  constructor(model: Model) {
    this.#constants = [...constantsOf(model)];
    for (const { kind, bytes } of this.#constants) this.#bytes[kind] += bytes;
  }

  /**
   * The constant behind `name` is read in a form of `bytes` bytes by `readers`; it goes where nothing else reads it.
   * @param form tells forms of one constant apart: equal ones are stored once.
   */
  replace(
    scope: Scope,
    name: string,
    { readers, bytes, form = '' }: { readers: ReadonlySet<Node>; bytes: number; form?: string },
  ): void {
    const home = definingScope(scope, name);
    const stored = storedName(home, name);
    const constant = this.#constants.find((each) => each.graph === home.graph && each.name === stored);
    if (constant === undefined) return;
    const forms = this.#stored.get(constant) ?? new Set();
    if (forms.has(form)) return;
    this.#stored.set(constant, forms.add(form));
    this.#bytes[constant.kind] += bytes;
    if (this.#taken.has(constant) || readElsewhere(home, name, readers)) return;
    this.#taken.add(constant);
    this.#bytes[constant.kind] -= constant.bytes;
  }

  /** The bytes now; a copy. */
  get bytes(): KindBytes {
    return { ...this.#bytes };
  }
}
