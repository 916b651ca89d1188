import { describe, expect, test } from 'vitest';
import { proposeContract, sourceText } from '../../../src/cli/create/propose-contract.js';
import { parseBinds, type RowInput, type Supply } from '../../../src/cli/create/sources.js';
import type { DataType } from '../../../src/core/index.js';
import { errorCode } from '../../support/error-code.js';

const supply: Supply = {
  rows: 100,
  numberColumns: ['price', 'release_year'],
  vectorDimensions: 384,
  retrieves: true,
};

function input(
  name: string,
  dtype: DataType,
  rowDims: readonly (number | string)[] = [],
  tableRows?: number,
): RowInput {
  const isFixed = rowDims.every((dim) => typeof dim === 'number');
  const width = isFixed ? rowDims.reduce((product, dim) => product * dim, 1) : undefined;
  return { name, dtype, rowDims, width, ...(tableRows === undefined ? {} : { tableRows }) };
}

/** `input=source` of what is bound, `input?` of what is not. */
function propose(
  inputs: readonly RowInput[],
  binds: readonly string[] = [],
  given: Supply = supply,
): string[] {
  const { bound, unbound } = proposeContract(inputs, given, parseBinds(binds));
  return [
    ...bound.map(({ binding }) => `${binding.name}=${sourceText(binding.source)}`),
    ...unbound.map(({ input: { name } }) => `${name}?`),
  ];
}

describe('what an input alone says', () => {
  test.each([
    ['the only vector is the item', input('embedding', 'float32', [384]), 'embedding=vectors'],
    ['unless it is the query', input('query', 'float32', [384]), 'query=request:query_vector'],
    ['a fixed history', input('user_history', 'int64', [50], 101), 'user_history=history:50:1:0'],
    ['ids of a table with padding', input('item_id', 'int64', [], 101), 'item_id=candidate:1'],
    ['ids of a table without', input('candidate', 'int32', [1], 100), 'candidate=candidate:0'],
    ['a column', input('price', 'float32'), 'price=column:price'],
    ['a column in other letters', input('releaseYear', 'int64', [1]), 'releaseYear=column:release_year'],
    ['the score of retrieval', input('bm25', 'float32', [1]), 'bm25=retrieval'],
    ['the batch', input('request_index', 'int64'), 'request_index=request_index'],
    ['another width', input('document', 'float32', [16]), 'document?'],
    ['vectors of integers', input('document', 'int64', [384]), 'document?'],
    ['an open history', input('history', 'int64', ['length'], 101), 'history?'],
    ['a history without a row for padding', input('history', 'int64', [50], 100), 'history?'],
    ['ids of no table', input('item_id', 'int64'), 'item_id?'],
    ['ids of a larger table', input('item_id', 'int64', [], 120), 'item_id?'],
    ['a number that nothing names', input('age', 'float32'), 'age?'],
  ])('%s', (_, given, expected) => {
    expect(propose([given])).toEqual([expected]);
  });
});

describe('what inputs say together', () => {
  const vector = (name: string): RowInput => input(name, 'float32', [384]);

  test.each([
    [
      ['query', 'document'],
      ['query=request:query_vector', 'document=vectors'],
    ],
    [
      ['input_a', 'input_b'],
      ['input_a=request:query_vector', 'input_b=vectors'],
    ],
    [
      ['userEmbedding', 'itemEmbedding'],
      ['userEmbedding=request:query_vector', 'itemEmbedding=vectors'],
    ],
    [
      ['query', 'doc1', 'doc2'],
      ['query=request:query_vector', 'doc1?', 'doc2?'],
    ],
    [
      ['left', 'right'],
      ['left?', 'right?'],
    ],
    [
      ['user_item', 'query'],
      ['query=request:query_vector', 'user_item?'],
    ],
  ])('%j', (names, expected) => {
    expect(propose(names.map(vector))).toEqual(expected);
  });

  test('two sources for one input are left to the caller, both named first', () => {
    const given = { ...supply, numberColumns: ['age', 'score'] };
    const { unbound } = proposeContract([input('score', 'float32')], given, new Map());
    expect(unbound[0]).toMatchObject({ reason: 'several sources fit' });
    expect(unbound[0]?.suggestions).toEqual(['column:score', 'retrieval', 'column:age', 'request:score']);
  });

  test('what --bind takes is not given twice, and --bind has the last word', () => {
    const inputs = ['query', 'doc1', 'doc2'].map(vector);
    expect(propose(inputs, ['doc1=vectors'])).toEqual([
      'query=request:query_vector',
      'doc1=vectors',
      'doc2?',
    ]);
    expect(propose(inputs, ['doc1=vectors', 'doc2=request:other'])).toContain('doc2=request:other');
    expect(propose([vector('query')], ['query=vectors'])).toEqual(['query=vectors']);
  });

  test('nothing is taken from where there is nothing', () => {
    const bare: Supply = { rows: 100, numberColumns: [], retrieves: false };
    const inputs = [vector('document'), input('bm25', 'float32'), input('price', 'float32')];
    expect(propose(inputs, [], bare)).toEqual(['document?', 'bm25?', 'price?']);
  });
});

test('per request and per candidate, with the rows in front', () => {
  const inputs = [
    input('history', 'int64', ['n'], 101),
    input('price', 'float64', [1]),
    input('age', 'float32'),
  ];
  const { bound } = proposeContract(inputs, supply, parseBinds(['history=history:20', 'age=request:age']));
  expect(bound.map(({ binding: { per, dims } }) => [per, dims])).toEqual([
    ['request', ['requests', 20]],
    ['candidate', ['candidates', 1]],
    ['request', ['requests']],
  ]);
});

describe('--bind', () => {
  test.each([
    ['item=candidate:3', 'item=candidate:3'],
    ['item=candidate', 'item=candidate:1'],
    ['item=request:some:field', 'item=request:some:field'],
    ['history=history:8', 'history=history:8:1:0'],
    ['history=history:8:0:100', 'history=history:8:0:100'],
  ])('%s', (bind, expected) => {
    const inputs = [input('item', 'int64', [], 101), input('history', 'int64', ['n'], 101)];
    expect(propose(inputs, [bind])).toContain(expected);
  });

  test.each([
    ['no source', 'item'],
    ['an unknown source', 'item=guess'],
    ['an unknown input', 'other=candidate:0'],
    ['a column that is not there', 'price=column:weight'],
    ['no field', 'price=request:'],
    ['ids as floats', 'price=candidate:0'],
    ['ids whose first is not known', 'item=candidate'],
    ['an offset that is no number', 'item=candidate:one'],
    ['vectors of another width', 'price=vectors'],
    ['a history of another length', 'history=history:9:1'],
    ['a history of no length', 'history=history:0:1'],
    ['too much', 'history=history:8:1:0:0'],
    ['a request for an open dimension', 'tokens=request:tokens'],
  ])('is refused: %s', (_, bind) => {
    const inputs = [
      input('item', 'int64'),
      input('price', 'float32'),
      input('history', 'int64', [8], 101),
      input('tokens', 'int64', ['n']),
    ];
    expect(errorCode(() => proposeContract(inputs, supply, parseBinds([bind])))).toBe('USAGE_INVALID');
  });

  test('is refused twice for one input', () => {
    expect(errorCode(() => parseBinds(['a=vectors', 'a=retrieval']))).toBe('USAGE_INVALID');
  });
});
