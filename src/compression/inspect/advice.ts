import { Adviser, percent } from './adviser.js';
import type { Advice, AdviceSubject } from './adviser.js';
import { cleanUp, forLatency, forMemory, forMobile } from './advice-rules.js';
import type { Cpu } from './cpu.js';
import { sumOf } from './weight-ledger.js';

/** What the compressed model is to be better at. */
export const GOALS = ['latency', 'memory', 'mobile'] as const;
export type Goal = (typeof GOALS)[number];

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

function pays({ bytes, timesFaster }: Advice, goal: Goal, subject: AdviceSubject): boolean {
  // What is not known may pay: the reason says so.
  if (goal === 'latency') return timesFaster === null || (timesFaster.high ?? timesFaster.low) >= LEAST_GAIN;
  return bytes !== null && bytes <= LEAST_SMALLER * sumOf(subject.bytes);
}
