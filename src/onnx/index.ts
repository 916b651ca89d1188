export type * from './model.js';
export { GraphBuilder } from './builder.js';
export type { GraphBuilderOptions, Operand, Ops } from './builder.js';
export { attributesOf } from './attributes.js';
export type { Attributes, AttributeValue } from './attributes.js';
export type { Operator } from './operators.js';
export { dataTypeCode, dataTypeOfCode, packedBytes } from './dtypes.js';
export { byteLength, bytesOf, initializerOf, tensorOf } from './tensors.js';
export { freshName, namesInUse, subgraphsOf } from './names.js';
