import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RateSearch } from '../../loadtest/open-loop/rate-search.js';

/** Searches a server that holds up to `capacity`; answers the rates that were tried. */
function search(
  capacity: number,
  start: number,
  confirmations = 3,
): { rates: number[]; search: RateSearch<number> } {
  const made = new RateSearch<number>(start, confirmations, (blocks) =>
    blocks.every((rate) => rate <= capacity),
  );
  const rates: number[] = [];
  while (made.result === undefined && rates.length < 100) {
    const { rate } = made.next();
    rates.push(rate);
    made.take(rate);
  }
  return { rates, search: made };
}

describe('RateSearch', () => {
  test('finds every capacity to 3 %, from above and from below', () => {
    const capacity = fc.double({ min: 1, max: 40_000, noNaN: true });
    const start = fc.double({ min: 1, max: 40_000, noNaN: true });
    fc.assert(
      fc.property(capacity, start, (held, from) => {
        const { rates, search: done } = search(held, from);
        const { rate = Number.NaN } = done.result ?? {};
        if (done.result?.rate === undefined) expect(Math.min(...rates) / 2).toBeLessThan(1);
        else {
          expect(rate).toBeLessThanOrEqual(held);
          expect(done.result.isLimit || rate >= held / 1.03).toBe(true);
        }
        expect(rates.length).toBeLessThan(40);
      }),
    );
  });

  test('confirms with as many blocks as were asked for', () => {
    const { rates } = search(70, 50, 4);
    expect(rates.slice(-4).every((rate) => rate === rates.at(-1))).toBe(true);
    // 50 holds, 100 does not; five halvings of that factor of two bring it to 2.2 %; then the confirmation.
    expect(rates).toHaveLength(2 + 5 + 4);
  });

  test('a rate that held once by luck and not again is lowered until it is confirmed', () => {
    const made = new RateSearch<{ rate: number; ok: boolean }>(100, 2, (blocks) =>
      blocks.every(({ ok }) => ok),
    );
    const purposes: string[] = [];
    while (made.result === undefined) {
      const { rate, purpose } = made.next();
      purposes.push(purpose);
      made.take({ rate, ok: purpose === 'confirm' ? rate < 100 : rate < 150 });
    }
    expect(made.result.rate).toBeLessThan(100);
    expect(made.result.rate).toBeGreaterThan(100 / 1.03 ** 5);
    expect(new Set(purposes)).toEqual(new Set(['bracket', 'bisect', 'confirm']));
  });

  test('says where nothing holds', () => {
    expect(search(0.5, 50).search.result).toEqual({ isLimit: false });
  });
});
