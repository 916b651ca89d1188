import { WhittleError } from '../core/index.js';
import type { Random } from '../core/index.js';

/**
 * Fills the first `length` elements of `out` with an inverted dropout mask: 0 with probability `rate`, else
 * 1 / (1 − rate) (Srivastava et al. 2014). Multiply activations by it, as a fed input. `rate` is met to 1/65,536; two
 * elements share one 32-bit draw of an sfc32 generator seeded by `random`, which moves on by four draws.
 * @throws INPUT_INVALID for a rate outside 0 <= rate < 1, or more elements than `out` has.
 */
export function dropoutMask(random: Random, length: number, rate: number, out: Float32Array): Float32Array {
  check('rate', rate, rate >= 0 && rate < 1, '0 <= rate < 1');
  check('length', length, length <= out.length, `at most ${out.length}, the length of out`);
  const threshold = Math.round(rate * 65_536);
  const kept = 1 / (1 - rate);
  let a = random.integer(2 ** 32) | 0;
  let b = random.integer(2 ** 32) | 0;
  let c = random.integer(2 ** 32) | 0;
  let counter = random.integer(2 ** 32) | 0;
  for (let index = 0; index < length; index += 2) {
    counter = (counter + 1) | 0;
    const bits = (((a + b) | 0) + counter) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + bits) | 0;
    out[index] = bits >>> 16 < threshold ? 0 : kept;
    if (index + 1 < length) out[index + 1] = (bits & 0xffff) < threshold ? 0 : kept;
  }
  return out;
}

function check(field: string, value: number, holds: boolean, allowed: string): void {
  if (!holds)
    throw new WhittleError('INPUT_INVALID', `${field} is ${value}, but must be ${allowed}`, {
      field,
      value,
      allowed,
    });
}
