import type { Interval } from '../statistics/index.js';

export { markdownTable, type TableColumn } from '../core/index.js';

/** A mean and, where known, its interval: `0.084 [0.062, 0.106]`. */
export function formatInterval({ mean, low, high }: Interval, digits = 3): string {
  const bounds =
    low === undefined || high === undefined ? '' : ` [${low.toFixed(digits)}, ${high.toFixed(digits)}]`;
  return mean.toFixed(digits) + bounds;
}
