import { readRecipe } from '../recipes.js';
import type { Recipe } from '../recipes.js';
import { int8Arithmetic } from './cpu.js';
import type { Cpu } from './cpu.js';
import type { Saving } from './subject.js';
import { composedSpeed } from './speed.js';
import type { SpeedRange } from './speed.js';
import { sumOf } from './weight-ledger.js';
import type { KindBytes } from './weight-ledger.js';

/** What advice goes by. */
export interface AdviceSubject {
  readonly bytes: KindBytes;
  /** Null where the model could not be run. */
  readonly multiplyAddsPer100Rows: number | null;
  readonly savings: readonly Saving[];
  /** Whether every input takes exactly one row. */
  readonly isOneRow: boolean;
  /** Share of the constants' bytes that are in 8 bits or fewer. */
  readonly quantizedShare: number;
}

/** A recipe that fits. */
export interface Advice {
  /** Short names joined by `+`, or a name for what `steps` do where short names cannot say it. */
  readonly recipe: string;
  readonly steps: Recipe;
  /** Whether the short names say all: else a recipe file with `steps` is needed. */
  readonly isShorthand: boolean;
  readonly reason: string;
  readonly needsRequests: boolean;
  /** Estimated bytes of all constants afterwards; null where that is not known. */
  readonly bytes: number | null;
  readonly timesFaster: SpeedRange | null;
}

/** Recipes by short names, of which those are left out that take nothing. */
export interface Wanted {
  readonly names: readonly string[];
  readonly reason: string;
  /** Steps without a short name, put in front. */
  readonly first?: Recipe;
  /** Advised whatever the estimate says. */
  readonly always?: boolean;
  /** Advised only where it is smaller than all before. */
  readonly onlySmallest?: boolean;
}

/** Answers what rules ask of the subject, and makes advice of what they want. */
export class Adviser {
  readonly subject: AdviceSubject;
  readonly cpu: Cpu;
  readonly arithmetic: ReturnType<typeof int8Arithmetic>;
  readonly #savings: ReadonlyMap<string, Saving>;

  constructor(subject: AdviceSubject, cpu: Cpu) {
    this.subject = subject;
    this.cpu = cpu;
    this.arithmetic = int8Arithmetic(cpu);
    this.#savings = new Map(subject.savings.map((saving) => [saving.recipe, saving]));
  }

  fits(name: string): boolean {
    return (this.#savings.get(name)?.takes ?? 0) > 0;
  }

  takes(name: string): string {
    const { takes = 0, of = 0, unit = 'layers' } = this.#savings.get(name) ?? {};
    return `${takes} of ${of} ${unit}`;
  }

  /** Whether multiply-adds could be counted: not where the model did not run, or all are hidden in subgraphs. */
  get isWorkKnown(): boolean {
    return (this.subject.multiplyAddsPer100Rows ?? 0) > 0;
  }

  /** Share of the multiply-adds in what a recipe takes; 0 where that is not known. */
  workShare(name: string): number {
    const total = this.subject.multiplyAddsPer100Rows ?? 0;
    return total === 0 ? 0 : (this.#savings.get(name)?.takenMultiplyAdds ?? 0) / total;
  }

  byteShare(kind: keyof KindBytes): number {
    const total = sumOf(this.subject.bytes);
    return total === 0 ? 0 : this.subject.bytes[kind] / total;
  }

  async advice({ names, reason, first = [] }: Wanted): Promise<Advice | undefined> {
    const fitting = names.filter((name) => this.fits(name));
    if (fitting.length + first.length === 0) return undefined;
    const steps = [...first, ...(fitting.length === 0 ? [] : await readRecipe(fitting.join('+')))];
    const narrowed = steps.map((step) => this.#within7Bits(step));
    const reduces = narrowed.some((step, index) => step !== steps[index]);
    const savings = fitting.flatMap((name) => this.#savings.get(name) ?? []);
    const recipe = [...first.map(({ pass }) => pass), ...fitting].join('+');
    return {
      recipe: reduces ? `${recipe}-7bit` : recipe,
      steps: narrowed,
      isShorthand: first.length === 0 && !reduces,
      reason,
      needsRequests: savings.some(({ needsRequests }) => needsRequests),
      bytes: this.#composedBytes(savings),
      timesFaster: first.length > 0 ? null : composedSpeed(savings.map((saving) => this.speedOf(saving))),
    };
  }

  /** Gains of 8-bit kernels were measured on x86 with VNNI alone. */
  speedOf({ pass, timesFaster }: Saving): SpeedRange | null {
    const isInt8 = pass === 'quantize-dynamic' || pass === 'quantize-static';
    return isInt8 && (this.arithmetic !== 'native' || this.cpu.architecture !== 'x64') ? null : timesFaster;
  }

  #within7Bits(step: Recipe[number]): Recipe[number] {
    const isInt8 = step.pass === 'quantize-dynamic' || step.pass === 'quantize-static';
    return isInt8 && this.arithmetic !== 'native' ? { ...step, reduceRange: true } : step;
  }

  /** Each step shrinks what the one before left, by kind of weight. */
  #composedBytes(savings: readonly Saving[]): number | null {
    if (savings.some(({ bytes }) => bytes === null)) return null;
    const { bytes } = this.subject;
    const kinds = Object.keys(bytes) as (keyof KindBytes)[];
    const after = kinds.map((kind) =>
      savings.reduce((left, saving) => {
        const share = bytes[kind] === 0 ? 1 : (saving.bytes?.[kind] ?? 0) / bytes[kind];
        return left * share;
      }, bytes[kind]),
    );
    return Math.round(after.reduce((sum, each) => sum + each, 0));
  }
}

/** `42 %`, for people. */
export function percent(share: number): string {
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
}
