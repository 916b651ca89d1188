import { describe, expect, it } from 'vitest';
import { createRandom, int64 } from '../../../src/core/index.js';
import { findLookups } from '../../../src/compression/graph/lookups.js';
import { GraphBuilder } from '../../../src/onnx/index.js';
import { denseWeight, normals } from '../support.js';

const random = createRandom(1);

function withTable(): { builder: GraphBuilder; table: string; ids: string } {
  const builder = new GraphBuilder({ opset: 17 });
  const ids = builder.input('ids', 'int64', ['n']);
  const table = builder.initializer('table', normals(random, [20, 4]));
  return { builder, table, ids };
}

const output = (builder: GraphBuilder, value: string): void => void builder.output(value, 'float32');

function reasons(builder: GraphBuilder): readonly (readonly [string, string])[] {
  const { tables, left } = findLookups(builder.build());
  expect(tables).toEqual([]);
  return left.map(({ op, reason }) => [op, reason] as const);
}

describe('findLookups', () => {
  it('puts all lookups of a table together, whatever names it has and whatever graphs they stand in', () => {
    const { builder, table, ids } = withTable();
    const { op } = builder;
    const branch = new GraphBuilder({ name: 'branch', opset: 17 });
    branch.node('Gather', [table, ids], {}, ['inner']);
    branch.output('inner', 'float32');
    const { graph } = branch.build();
    const [chosen = ''] = builder.node(
      'If',
      [builder.input('condition', 'bool', [])],
      { then_branch: graph, else_branch: graph },
      ['chosen'],
    );
    output(builder, op.Add(op.Gather(table, ids), op.Gather(op.Identity(table), ids, { axis: -2 })));
    output(builder, chosen);
    const { tables, left } = findLookups(builder.build());
    expect(left).toEqual([]);
    expect(tables).toMatchObject([{ name: 'table', dtype: 'float32', dims: [20, 4], rows: 20, width: 4 }]);
    expect(tables[0]?.lookups.map(({ scope }) => scope.graph.name)).toEqual([
      'graph',
      'graph',
      'branch',
      'branch',
    ]);
  });

  it('sees tables of three dimensions, of half floats, in Constant nodes and behind a Transpose', () => {
    const { builder, ids } = withTable();
    const { op } = builder;
    const three = builder.initializer('three', normals(random, [5, 2, 3]));
    const half = builder.initializer('half', {
      dtype: 'float16',
      dims: [6, 2],
      data: new Uint16Array(12),
    });
    const value = op.Constant({ value: normals(random, [7, 3]) });
    const columns = builder.initializer('columns', normals(random, [3, 9]));
    const rows = op.Transpose(columns, { perm: [1, 0] });
    for (const each of [three, half, value, rows]) output(builder, op.Gather(each, ids));
    const { tables, left } = findLookups(builder.build());
    expect(left).toEqual([]);
    expect(Object.fromEntries(tables.map(({ name, dims, width }) => [name, [dims, width]]))).toEqual({
      three: [[5, 2, 3], 6],
      half: [[6, 2], 2],
      [value]: [[7, 3], 3],
      columns: [[9, 3], 3],
    });
  });

  it('takes GatherND where it takes whole rows', () => {
    const { builder, table, ids } = withTable();
    const pairs = builder.input('pairs', 'int64', ['n', 2]);
    const single = builder.input('single', 'int64', ['n', 1]);
    const { op } = builder;
    output(builder, op.GatherND(table, single));
    expect(findLookups(builder.build()).tables).toHaveLength(1);
    const other = builder.initializer('other', normals(random, [20, 4]));
    output(builder, op.GatherND(other, pairs));
    const unknown = builder.initializer('unknown', normals(random, [20, 4]));
    output(builder, op.GatherND(unknown, op.Unsqueeze(ids, [1])));
    expect(findLookups(builder.build()).left.map(({ reason }) => reason)).toEqual([
      'table other: GatherND may take less than rows',
      'table unknown: GatherND may take less than rows',
    ]);
  });

  it('leaves a table that something else reads, and names it', () => {
    const tied = withTable();
    const row = tied.builder.op.Gather(tied.table, tied.ids);
    const transposed = tied.builder.op.Transpose(tied.table, { perm: [1, 0] });
    const [scores = ''] = tied.builder.node('MatMul', [row, transposed], {}, ['scores']);
    output(tied.builder, scores);
    expect(reasons(tied.builder)).toEqual([
      ['Gather', 'table table: MatMul MatMul reads it too, so that two copies would be needed'],
    ]);

    const shown = withTable();
    output(shown.builder, shown.builder.op.Gather(shown.table, shown.ids));
    output(shown.builder, shown.table);
    expect(reasons(shown.builder)).toEqual([
      ['Gather', 'table table: an output reads it too, so that two copies would be needed'],
    ]);

    const ids = withTable();
    output(ids.builder, ids.builder.op.Gather(ids.table, ids.builder.constant(int64([1, 2, 3]))));
    expect(reasons(ids.builder)).toEqual([
      ['Gather', 'table table: the ids are constant, so its rows are looked up at load'],
    ]);
  });

  it('leaves tables read otherwise than by rows, and what is no table it does not mention', () => {
    const { builder, table, ids } = withTable();
    const { op } = builder;
    output(builder, op.Gather(table, ids, { axis: 1 }));
    const elements = builder.initializer('elements', normals(random, [20, 4]));
    output(builder, op.GatherElements(elements, builder.input('places', 'int64', [20, 4])));
    const words = builder.initializer('words', normals(random, [20, 4]));
    const vector = builder.initializer('vector', normals(random, [4]));
    const two = builder.input('two', 'int32', ['n', 3]);
    builder.node(
      'EmbedLayerNormalization',
      [two, '', words, words, '', vector, vector],
      {},
      ['embedded', 'mask'],
      'com.microsoft',
    );
    output(builder, 'embedded');
    output(builder, op.Gather(vector, ids));
    output(
      builder,
      op.MatMul(
        op.Gather(builder.input('fed', 'float32', [9, 4]), ids),
        builder.constant(denseWeight(random, 4, 4)),
      ),
    );
    expect(reasons(builder)).toEqual([
      ['Gather', 'table table: it is gathered along axis 1'],
      ['GatherElements', 'table elements: GatherElements does more than look up its rows'],
      ['EmbedLayerNormalization', 'table words: EmbedLayerNormalization does more than look up its rows'],
    ]);
  });
});
