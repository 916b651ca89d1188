import { expect, test } from 'vitest';
import { parseMapping, recordedMapping } from '../../../src/cli/bundles/column-mapping.js';
import { toWhittleError } from '../../../src/core/index.js';
import { errorCode } from '../../support/error-code.js';

test('pairs become a mapping; a column name may hold an equals sign', () => {
  expect(parseMapping(undefined)).toBeUndefined();
  expect(parseMapping(['user=customer', 'item=a=b', 'time=ts', 'text=name'])).toEqual({
    user: 'customer',
    item: 'a=b',
    time: 'ts',
    text: 'name',
  });
});

test.each([
  ['no pair', ['user'], 'user'],
  ['no name', ['=x'], '=x'],
  ['no column', ['user=', 'item=b', 'time=c'], 'user'],
  ['something unknown', ['user=a', 'item=b', 'time=c', 'note=d'], 'note'],
  ['too little', ['user=a', 'item=b'], 'time'],
])('%s is refused by name', (_, pairs, name) => {
  let thrown: unknown;
  try {
    parseMapping(pairs);
  } catch (error) {
    thrown = error;
  }
  expect(toWhittleError(thrown)).toMatchObject({ code: 'USAGE_INVALID' });
  expect(toWhittleError(thrown).message).toContain(name);
});

test('a bundle’s own mapping is checked too', () => {
  const mapping = { user: 'a', item: 'b', time: 'c' };
  expect(recordedMapping({ dataset: 'x' })).toBeUndefined();
  expect(recordedMapping({ mapping })).toEqual(mapping);
  expect(errorCode(() => recordedMapping({ mapping: { user: 'a' } }))).toBe('USAGE_INVALID');
});
