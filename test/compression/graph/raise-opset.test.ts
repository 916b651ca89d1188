import { describe, expect, it } from 'vitest';
import { raiseOpset } from '../../../src/compression/graph/raise-opset.js';
import { GraphBuilder } from '../../../src/onnx/index.js';
import type { Model } from '../../../src/onnx/index.js';

function modelOf(opset: number, op: string, attributes: Readonly<Record<string, number>> = {}): Model {
  const builder = new GraphBuilder({ opset });
  builder.node(op, [builder.input('x', 'float32', ['rows', 4])], attributes, ['y']);
  builder.output('y');
  return builder.build();
}

describe('raiseOpset', () => {
  it.each([
    [7, 'Relu', 12, undefined],
    [11, 'Relu', 12, undefined],
    [9, 'Slice', 9, 'Slice'],
    [7, 'Upsample', 8, 'Upsample'],
    [8, 'Scan', 8, 'Scan'],
    [9, 'Scan', 12, undefined],
    [7, 'Pad', 10, 'Pad'],
    [7, 'Dropout', 11, 'Dropout'],
    [6, 'Relu', 6, undefined],
    [17, 'Pad', 17, undefined],
  ])('from %i with %s to %i', (given, op, reached, stoppedBy) => {
    const model = modelOf(given, op);
    const raised = raiseOpset(model);
    expect([raised.model.opsets.get(''), raised.stoppedBy]).toEqual([reached, stoppedBy]);
    expect(raised.model.graph).toBe(model.graph);
    if (given === reached) expect(raised.model).toBe(model);
  });

  it('stops where an attribute went away', () => {
    expect(raiseOpset(modelOf(8, 'BatchNormalization', { spatial: 1 })).stoppedBy).toBe('BatchNormalization');
    expect(raiseOpset(modelOf(8, 'BatchNormalization')).stoppedBy).toBeUndefined();
  });
});
