import { expect, test } from 'vitest';
import { planPhases, type Phase } from '../../loadtest/phases.js';

const named = (phases: readonly Phase[], kind: Phase['kind']): string[] =>
  phases.filter((phase) => phase.kind === kind).map(({ pipeline = '*', round }) => `${pipeline}${round}`);

test('rounds turn round, the mixture comes last, everything is warmed up first', () => {
  const phases = planPhases(['a', 'b', 'c'], 3);
  expect(named(phases, 'warm-up')).toEqual(['a0', 'b0', 'c0']);
  expect(named(phases, 'alone')).toEqual(['a1', 'b1', 'c1', 'c2', 'b2', 'a2', 'a3', 'b3', 'c3']);
  expect(named(phases, 'mixture')).toEqual(['*1', '*2', '*3']);
  expect(phases.map(({ kind }) => kind)).toEqual([
    ...Array<string>(3).fill('warm-up'),
    ...Array<string>(9).fill('alone'),
    ...Array<string>(3).fill('mixture'),
  ]);
});
