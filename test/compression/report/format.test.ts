import { expect, it } from 'vitest';
import {
  formatBytes,
  formatCosine,
  formatCount,
  formatDecibels,
  formatError,
  formatFactor,
} from '../../../src/compression/report/format.js';

it.each<readonly [string, string]>([
  [formatBytes(0), '0 B'],
  [formatBytes(999), '999 B'],
  [formatBytes(1000), '1.00 KB'],
  [formatBytes(999_499), '999 KB'],
  [formatBytes(999_600), '1.00 MB'],
  [formatBytes(1_311_744), '1.31 MB'],
  [formatBytes(2.5e13), '25.0 TB'],
  [formatCount(12), '12'],
  [formatCount(118_000_000), '118 M'],
  [formatFactor(400, 100), '4.00×'],
  [formatFactor(0, 1), '–'],
  [formatError(0), '0'],
  [formatError(0.00123), '1.2e-3'],
  [formatError(undefined), '–'],
  [formatDecibels(0.1), '20.0'],
  [formatDecibels(0), '∞'],
  [formatDecibels(undefined), '–'],
  [formatCosine(0.9999994), '0.999999'],
  [formatCosine(undefined), '–'],
])('%s', (text, expected) => {
  expect(text).toBe(expected);
});
