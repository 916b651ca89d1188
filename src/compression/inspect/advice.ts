import { readRecipe } from '../recipes.js';
import type { Recipe } from '../recipes.js';
import { formatBytes } from '../report/format.js';
import { int8Arithmetic } from './cpu.js';
import type { Cpu } from './cpu.js';
import type { Saving } from './savings.js';
import { composedSpeed } from './speed.js';
import type { SpeedRange } from './speed.js';
import type { KindBytes } from './weight-ledger.js';

/** What the compressed model is to be better at. */
export const GOALS = ['latency', 'memory', 'mobile'] as const;
export type Goal = (typeof GOALS)[number];

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

/** Below these multiply-adds a row, int8 gains nothing for one row. */
const SMALL_ROW = 200_000;
/** Gains below these are not worth a recipe. */
const LEAST_GAIN = 1.1;
const LEAST_SMALLER = 0.95;
/** Passes that make a model ready for others. */
const PREPARING: readonly string[] = ['simplify', 'dynamic-batch'];

/** Recipes that fit the model, the goal and the CPU, those to try first at the front; empty where none does. */
export async function adviseRecipes(subject: AdviceSubject, goal: Goal, cpu: Cpu): Promise<Advice[]> {
  const adviser = new Adviser(subject, cpu);
  const wanted = { latency: forLatency, memory: forMemory, mobile: forMobile }[goal](adviser);
  const advice: Advice[] = [];
  for (const each of [...wanted, ...cleanUp(adviser)]) {
    const made = await adviser.advice(each);
    if (made === undefined || advice.some(({ recipe }) => recipe === made.recipe)) continue;
    if (each.always !== true && !pays(made, goal, subject)) continue;
    const smallest = advice.every(({ bytes }) => (made.bytes ?? 0) < (bytes ?? Infinity));
    if (each.onlySmallest !== true || smallest) advice.push(made);
  }
  return advice;
}

/** Why no recipe quantizes, prunes or factorises anything; null where one does. */
export function whyNothing(
  { savings, quantizedShare }: AdviceSubject,
  advice: readonly Advice[],
  goal: Goal,
): string | null {
  if (advice.some(({ steps }) => steps.some(({ pass }) => !PREPARING.includes(pass)))) return null;
  if (quantizedShare > 0.5)
    return `Nothing to gain: ${percent(quantizedShare)} of the bytes are in 8 bits or fewer already.`;
  const takes = savings.some((saving) => saving.takes > 0 && !PREPARING.includes(saving.pass));
  return takes
    ? `Nothing to gain for ${goal}: what the passes could take is too small a part of this model, or too narrow.`
    : 'Nothing to gain: no pass finds a layer or table that it handles.';
}

/** Recipes by short names, of which those are left out that take nothing. */
interface Wanted {
  readonly names: readonly string[];
  readonly reason: string;
  /** Steps without a short name, put in front. */
  readonly first?: Recipe;
  /** Advised whatever the estimate says. */
  readonly always?: boolean;
  /** Advised only where it is smaller than all before. */
  readonly onlySmallest?: boolean;
}

function pays({ bytes, timesFaster }: Advice, goal: Goal, subject: AdviceSubject): boolean {
  // What is not known may pay: the reason says so.
  if (goal === 'latency') return timesFaster === null || (timesFaster.high ?? timesFaster.low) >= LEAST_GAIN;
  return bytes !== null && bytes <= LEAST_SMALLER * sumOf(subject.bytes);
}

class Adviser {
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

function forLatency(adviser: Adviser): Wanted[] {
  const { arithmetic, subject } = adviser;
  const quick: Wanted = { names: ['int8'], reason: int8Reason(adviser) };
  const cut: Wanted = {
    names: ['pruned', 'lowrank', 'int8'],
    reason: `Smaller layers are faster on every machine (${adviser.takes('pruned')} lose neurons, ${adviser.takes('lowrank')} can be cut in rank), and int8 works on what they leave. It costs more accuracy: compare.`,
  };
  const dense = arithmetic === 'native' ? [quick, cut] : [cut, quick];
  const convolutional = adviser.workShare('static') - adviser.workShare('int8') >= 0.5;
  return [
    ...(subject.isOneRow ? [oneRow()] : []),
    ...(convolutional ? [staticAdvice(adviser)] : []),
    ...(denseMatters(adviser) ? dense : []),
    ...(adviser.workShare('heads') >= 0.25
      ? [
          {
            names: ['heads'],
            reason: `Attention heads are in ${adviser.takes('heads')}, with ${percent(adviser.workShare('heads'))} of the multiply-adds. Models with few heads lose much with each.`,
          },
        ]
      : []),
  ];
}

/** Share of the multiply-adds from which on dense layers decide a run's time; of the bytes, where those are not known. */
const DENSE_SHARE = 0.25;

function denseMatters(adviser: Adviser): boolean {
  if (!adviser.isWorkKnown) return adviser.byteShare('dense') >= DENSE_SHARE;
  return Math.max(adviser.workShare('int8'), adviser.workShare('lowrank')) >= DENSE_SHARE;
}

function oneRow(): Wanted {
  return {
    names: [],
    first: [{ pass: 'dynamic-batch' }],
    always: true,
    reason:
      'It takes one row at a time: where it scores several candidates, one run over all of them saves more than any compression. Compress the result.',
  };
}

function staticAdvice(adviser: Adviser): Wanted {
  const share = percent(adviser.workShare('static'));
  return {
    names: ['static'],
    reason: `${share} of the multiply-adds are in ${adviser.takes('static')} that static int8 takes, convolutions among them, which dynamic int8 leaves: 1.2 to 3 times faster as measured on VNNI.`,
  };
}

function int8Reason(adviser: Adviser): string {
  const { arithmetic, cpu, subject } = adviser;
  const share = adviser.isWorkKnown
    ? `${percent(adviser.workShare('int8'))} of the multiply-adds are in the ${adviser.takes('int8')} that int8 takes`
    : `Multiply-adds could not be counted, but dense layers are ${percent(adviser.byteShare('dense'))} of the bytes, and int8 takes ${adviser.takes('int8')}`;
  const perRow = (subject.multiplyAddsPer100Rows ?? 0) / 100;
  const small =
    adviser.isWorkKnown && perRow < SMALL_ROW
      ? ' For a single row it gains nothing: a row of this model has too little to multiply.'
      : '';
  if (arithmetic === 'native') {
    const measured =
      cpu.architecture === 'x64' ? 'measured on AVX-512 VNNI' : 'not measured on this kind of CPU';
    return `${share}, and this CPU multiplies 8 bits natively (${measured}); no requests needed.${small}`;
  }
  const why =
    arithmetic === 'saturating'
      ? 'this CPU has no VNNI, so its 8-bit sums overflow unless weights keep to 7 bits (reduceRange)'
      : 'the CPU’s instructions are not known, so weights keep to 7 bits (reduceRange), which is right on all';
  return `${share}; ${why}. The gain was not measured there: measure it.${small}`;
}

function forMemory(adviser: Adviser): Wanted[] {
  const { dense, table } = { dense: adviser.byteShare('dense'), table: adviser.byteShare('table') };
  const where = `Tables are ${percent(table)} of the bytes, dense layers ${percent(dense)}.`;
  const lookups = adviser.fits('int8tables') ? ' Rows looked up take no longer.' : '';
  return [
    ...staticFirst(adviser),
    {
      names: ['int8tables', 'int8'],
      reason: `${where} 8 bits leave a quarter of what they take, with the least loss of all; no requests needed.${lookups}`,
    },
    ...(adviser.fits('int4tables') && adviser.fits('int8')
      ? [
          {
            names: ['int4tables', 'int8'],
            reason:
              'Half of the tables’ bytes again, with more error; each row looked up takes a little longer.',
          },
        ]
      : []),
    {
      names: ['int4tables', 'w4'],
      reason: 'The fewest bytes without requests: 4 bits wherever they fit. No faster at 100 rows.',
    },
    cutAndQuantized(adviser, 'int8'),
  ];
}

function forMobile(adviser: Adviser): Wanted[] {
  const contrib = adviser.fits('w4')
    ? ' Its dense layers need a build of ONNX Runtime with com.microsoft’s operators.'
    : '';
  return [
    ...staticFirst(adviser),
    {
      names: ['int4tables', 'w4'],
      reason: `The smallest download without requests: weights alone in 4 bits; activations stay float32.${contrib}`,
    },
    {
      names: ['int8tables', 'int8'],
      reason: 'Less loss than 4 bits, in operators of ONNX itself, which every build of ONNX Runtime has.',
    },
    cutAndQuantized(adviser, 'w4'),
    ...(adviser.byteShare('dense') >= 0.5 ? [SPARSE] : []),
  ];
}

const SPARSE: Wanted = {
  names: ['sparse'],
  reason:
    'Half of the dense weights zero: about half of their part of the download where files are compressed on their way, and nothing else. Neither the file nor a run gets smaller or faster.',
  always: true,
};

function cutAndQuantized(adviser: Adviser, quantized: 'int8' | 'w4'): Wanted {
  const fewer = [
    ...(adviser.fits('pruned') ? ['fewer neurons'] : []),
    ...(adviser.fits('lowrank') ? ['lower ranks'] : []),
    ...(adviser.fits(quantized) || adviser.fits('int4tables') ? ['fewer bits'] : []),
  ];
  return {
    names: ['pruned', 'lowrank', 'int4tables', quantized],
    reason: `The smallest: ${fewer.join(', ')}. It costs most accuracy: compare.`,
    onlySmallest: true,
  };
}

/** Share of the bytes from which on convolutions come first. */
const CONVOLUTIONAL = 0.2;

function staticFirst(adviser: Adviser): Wanted[] {
  const share = adviser.byteShare('conv');
  if (share < CONVOLUTIONAL) return [];
  const reason = `Convolutions are ${percent(share)} of the bytes, and static int8 alone takes them.`;
  return [{ names: ['static'], reason }];
}

/** Nodes, and share of them, from which on cleaning up is worth its own step. */
const UNTIDY_NODES = 10;
const UNTIDY = 0.1;

function cleanUp(adviser: Adviser): Wanted[] {
  const { takes = 0, of = 1 } = adviser.subject.savings.find(({ recipe }) => recipe === 'simplify') ?? {};
  if (takes < Math.max(UNTIDY_NODES, UNTIDY * of)) return [];
  const reason = `${takes} of ${of} nodes depend on constants alone or do nothing: it loads faster, and other passes find more. Put it in front of any of the recipes.`;
  return [{ names: ['simplify'], reason, always: true }];
}

/** The command that makes it, ready to paste into a POSIX shell. */
export function commandFor(
  advice: Advice,
  target: { readonly path: string; readonly kind: 'file' | 'bundle' },
): string {
  const { recipe, steps, isShorthand, needsRequests } = advice;
  const file = `${recipe}.json`;
  const write = isShorthand ? '' : `echo ${quoted(JSON.stringify(steps))} > ${file} && `;
  const compress = `whittle compress ${quoted(target.path)} --recipe ${isShorthand ? recipe : file}`;
  if (target.kind === 'bundle') return `${write}${compress} --name ${recipe}`;
  const calibrate = needsRequests ? ' --calibrate requests.parquet' : '';
  const stem = target.path.replace(/^.*[/\\]/, '').replace(/\.onnx$/i, '');
  return `${write}${compress}${calibrate} --out ${quoted(`${stem}-${recipe}`)}`;
}

function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** What is left of the model, for people: `1.18 MB`. */
export function bytesText(bytes: number | null): string {
  return bytes === null ? '–' : formatBytes(bytes);
}

/** Bytes of all kinds. */
export function sumOf({ dense, table, conv, other }: KindBytes): number {
  return dense + table + conv + other;
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
}
