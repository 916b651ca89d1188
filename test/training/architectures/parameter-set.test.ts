import { describe, expect, test } from 'vitest';
import { createRandom, must } from '../../../src/core/index.js';
import { GraphBuilder, tensorOf } from '../../../src/onnx/index.js';
import { ParameterSet } from '../../../src/training/architectures/parameter-set.js';

describe('a parameter set', () => {
  const valuesOf = (builder: GraphBuilder, name: string): unknown =>
    tensorOf(must(builder.initializers.get(name), name));

  test('writes fresh weights of the wanted spread, and remembers their names in order', () => {
    const builder = new GraphBuilder();
    const set = new ParameterSet(builder, createRandom(3));
    set.normal('table', [400, 50], 0.02);
    set.filled('scale', [3], 1);
    const data = Float32Array.of(4, 5);
    set.given('prior', [2], data);
    data.fill(0);
    expect(set.names).toEqual(['table', 'scale', 'prior']);
    expect(valuesOf(builder, 'scale')).toEqual({
      dtype: 'float32',
      dims: [3],
      data: Float32Array.of(1, 1, 1),
    });
    expect(valuesOf(builder, 'prior')).toEqual({ dtype: 'float32', dims: [2], data: Float32Array.of(4, 5) });
    const table = Array.from(tensorOf(must(builder.initializers.get('table'), 'table')).data as Float32Array);
    const mean = table.reduce((sum, value) => sum + value, 0) / table.length;
    const deviation = Math.sqrt(table.reduce((sum, value) => sum + (value - mean) ** 2, 0) / table.length);
    // Four standard errors of each.
    expect(Math.abs(mean)).toBeLessThan((4 * 0.02) / Math.sqrt(table.length));
    expect(Math.abs(deviation - 0.02)).toBeLessThan((4 * 0.02) / Math.sqrt(2 * table.length));
  });

  test('takes known weights as they are, whatever they would begin as', () => {
    const builder = new GraphBuilder();
    const known = new Map(['a', 'b', 'c'].map((name, index) => [name, Float32Array.of(index, 9)]));
    const set = new ParameterSet(builder, createRandom(3), known);
    const names = [
      set.normal('a', [2], 1),
      set.filled('b', [2], 7),
      set.given('c', [2], Float32Array.of(0, 0)),
    ];
    names.forEach((name, index) =>
      expect(valuesOf(builder, name)).toMatchObject({ data: Float32Array.of(index, 9) }),
    );
  });
});
