const WANTED = 6;

/** About six round numbers from `low` (a multiple of the step) to at least `high`. */
export function niceTicks(low: number, high: number): readonly number[] {
  const rough = Math.max(high - low, 1e-9) / WANTED;
  const magnitude = 10 ** Math.floor(Math.log10(rough));
  const step = magnitude * ([1, 2, 5, 10].find((one) => one * magnitude >= rough) ?? 10);
  const count = Math.ceil((high - low) / step - 1e-9);
  return Array.from({ length: Math.max(1, count) + 1 }, (_, place) => low + place * step);
}

/** 1, 2 and 5 of every power of ten, from the last that is not above `low` to the first that is not below `high`. */
export function logTicks(low: number, high: number): readonly number[] {
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
    ticks.push(...[1, 2, 5].map((one) => one * 10 ** power));
  const first = ticks.findLastIndex((tick) => tick <= low);
  const last = ticks.findIndex((tick) => tick >= high);
  const chosen = ticks.slice(Math.max(0, first), last === -1 ? undefined : last + 1);
  return chosen.length > 1 ? chosen : ticks.slice(Math.max(0, first), Math.max(0, first) + 2);
}
