export type * from './model.js';
export { GraphBuilder } from './builder.js';
export type { Ops } from './builder.js';
export { attributesOf } from './attributes.js';
export type { Attributes } from './attributes.js';
export { dataTypeCode, dataTypeOfCode, packedBytes } from './dtypes.js';
export { byteLength, bytesOf, contentChunks, initializerOf, tensorOf } from './tensors.js';
export { freshName, namesInUse, subgraphsOf } from './names.js';
export { decodeModel, encodeModel, readModel } from './codec.js';
export {
  consumers,
  modelInputs,
  producers,
  removeUnused,
  replaceNodes,
  valuesRead,
  withInitializers,
} from './edit.js';
export { constantInfo, constantTensor } from './constants.js';
export type { TensorInfo } from './constant-moves.js';
export { floatAttribute, intAttribute, intsAttribute, stringAttribute } from './read-node.js';
export { checkModel } from './check-model.js';
export { checkModelLimits } from './limits.js';
export type { ExternalTensor } from './codec-tensor.js';
export { withModelSession } from './model-session.js';
export { probeShapes } from './shapes.js';
export { sortNodes } from './sort-nodes.js';
export { writeModel } from './write-model.js';
export { float16ToFloat32, bfloat16ToFloat32 } from './half-kernel.js';
