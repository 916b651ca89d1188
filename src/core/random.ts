/** Seeded random numbers: the same seed gives the same sequence on every machine. */
export interface Random {
  /** Uniform in [0, 1) with 32 bits. */
  uniform(): number;
  /** Uniform integer in [0, limit). */
  integer(limit: number): number;
  /** Standard normal. */
  normal(): number;
  /** An independent stream named by `label`. */
  fork(label: string): Random;
}

/** FNV-1a, to turn a label into a seed. */
function labelHash(label: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < label.length; index++)
    hash = Math.imul(hash ^ label.charCodeAt(index), 0x01000193);
  return hash >>> 0;
}

/** sfc32 (PractRand's small fast counter), started from `seed` and warmed up 16 steps. */
export function createRandom(seed: number): Random {
  let a = 0x9e3779b9 ^ seed;
  let b = 0x243f6a88 ^ Math.imul(seed, 0x85ebca6b);
  let c = 0xb7e15162 ^ Math.imul(seed, 0xc2b2ae35);
  let counter = 1;
  const next = (): number => {
    const result = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + result) | 0;
    return result >>> 0;
  };
  for (let step = 0; step < 16; step++) next();
  const uniform = (): number => next() / 2 ** 32;
  return {
    uniform,
    integer: (limit) => Math.floor(uniform() * limit),
    normal: () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
    fork: (label) => createRandom((next() ^ labelHash(label)) >>> 0),
  };
}

/** Fisher-Yates in place. */
export function shuffle<T extends { length: number; [index: number]: number }>(values: T, random: Random): T {
  for (let index = values.length - 1; index > 0; index--) {
    const other = random.integer(index + 1);
    const held = values[index] as number;
    (values as Record<number, number>)[index] = values[other] as number;
    (values as Record<number, number>)[other] = held;
  }
  return values;
}
