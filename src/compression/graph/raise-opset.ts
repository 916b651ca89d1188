import type { Model, Node } from '../../onnx/index.js';
import { scopesOf } from './scopes.js';

/**
 * Operators of ai.onnx 7 and later whose nodes a version no longer takes as they were, by that version; all others only
 * gained abilities on the way. From the operators' changelog (onnx/docs/Changelog.md), and for version 10 the
 * experimental operators that ONNX Runtime still has up to 9.
 */
const CHANGED: ReadonlyMap<number, ReadonlySet<string>> = new Map([
  [9, new Set(['Scan', 'Upsample'])],
  [
    10,
    new Set(
      (
        'Slice TopK Upsample Affine Crop DynamicSlice GivenTensorFill ImageScaler ParametricSoftplus Scale ' +
        'ScaledTanh'
      ).split(' '),
    ),
  ],
  [11, new Set(['Clip', 'Pad', 'Resize', 'Scatter'])],
  [12, new Set(['Dropout'])],
]);

const OLDEST = 7;
const NEWEST = 12;

/** The model for a newer version of ai.onnx. */
export interface RaisedModel {
  readonly model: Model;
  /** An operator that stopped it below 12; undefined where it arrived. */
  readonly stoppedBy: string | undefined;
}

/**
 * Declares a model of version 7 to 11 for a newer one, up to 12, as far as every node means the same there.
 */
export function raiseOpset(model: Model): RaisedModel {
  const given = model.opsets.get('') ?? 0;
  if (given < OLDEST) return { model, stoppedBy: undefined };
  const nodes = scopesOf(model).flatMap(({ graph }) => graph.nodes);
  let version = given;
  let stoppedBy: string | undefined;
  while (version < NEWEST && stoppedBy === undefined) {
    stoppedBy = nodes.find((node) => isChanged(node, version + 1))?.op;
    if (stoppedBy === undefined) version++;
  }
  const raised = { ...model, opsets: new Map([...model.opsets, ['', version]]) };
  return { model: version === given ? model : raised, stoppedBy };
}

function isChanged(node: Node, version: number): boolean {
  if (node.domain !== '') return false;
  return (
    CHANGED.get(version)?.has(node.op) === true ||
    (node.op === 'BatchNormalization' && node.attributes.has('spatial'))
  );
}
