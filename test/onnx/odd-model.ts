import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { WireType } from '@bufbuild/protobuf/wire';
import { AttributeProto_AttributeType as AttributeType, ModelProtoSchema } from 'onnx-buf';
import type { GraphProtoSchema, TensorProtoSchema } from 'onnx-buf';

type TensorInit = MessageInitShape<typeof TensorProtoSchema>;

const text = (value: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(value);

/** One tensor for each way of storing values, types that Whittle does not compute with among them. */
export const ODD_TENSORS: readonly TensorInit[] = [
  { name: 'f32', dataType: 1, dims: [2n], floatData: [1.5, -0] },
  { name: 'f64', dataType: 11, dims: [2n], doubleData: [Math.PI, -1e300] },
  { name: 'i64', dataType: 7, dims: [2n], int64Data: [-(2n ** 62n), 5n] },
  { name: 'u64', dataType: 13, dims: [1n], uint64Data: [2n ** 64n - 1n] },
  { name: 'u32', dataType: 12, dims: [1n], uint64Data: [2n ** 32n - 1n] },
  { name: 'i32', dataType: 6, dims: [2n], int32Data: [-(2 ** 31), 7] },
  { name: 'i16', dataType: 5, dims: [2n], int32Data: [-3, 300] },
  { name: 'u16', dataType: 4, dims: [1n], int32Data: [65535] },
  { name: 'i8', dataType: 3, dims: [3n], int32Data: [-128, 127, -1] },
  { name: 'u8', dataType: 2, dims: [2n], int32Data: [255, 0] },
  { name: 'bool', dataType: 9, dims: [2n], int32Data: [1, 0] },
  { name: 'f16', dataType: 10, dims: [1n], int32Data: [0x3c00] },
  { name: 'bf16', dataType: 16, dims: [1n], int32Data: [0xbf80] },
  { name: 'i4', dataType: 22, dims: [3n], int32Data: [0x21, 0x0f] },
  { name: 'u4', dataType: 21, dims: [2n], rawData: Uint8Array.of(0xf1) },
  { name: 'texts', dataType: 8, dims: [2n], stringData: [text('grün'), Uint8Array.of(0xff, 0x00)] },
  { name: 'scalar', dataType: 1, dims: [], floatData: [3], docString: 'a scalar' },
  { name: 'empty', dataType: 1, dims: [0n, 4n], metadataProps: [{ key: 'k', value: 'v' }] },
  { name: 'complex', dataType: 14, dims: [1n], floatData: [1, 2] },
  { name: 'f8', dataType: 17, dims: [2n], rawData: Uint8Array.of(1, 2) },
];

const branch = (name: string): MessageInitShape<typeof GraphProtoSchema> => ({
  name,
  docString: 'a branch',
  node: [{ opType: 'Add', input: ['x', `${name}_w`], output: [`${name}_out`] }],
  initializer: [{ name: `${name}_w`, dataType: 1, dims: [1n], floatData: [2] }],
  output: [{ name: `${name}_out` }],
});

/** A model file that has something in every corner of the schema. It need not run. */
export function oddModelBytes(): Uint8Array<ArrayBuffer> {
  const known = create(ModelProtoSchema, {
    irVersion: 10n,
    producerName: 'someone',
    modelVersion: 3n,
    docString: 'odd',
    opsetImport: [
      { domain: 'ai.onnx', version: 21n },
      { domain: 'com.example', version: 2n },
    ],
    metadataProps: [{ key: 'author', value: 'x' }],
    functions: [
      {
        name: 'Twice',
        domain: 'com.example',
        input: ['a'],
        output: ['b'],
        attribute: ['axis'],
        node: [
          {
            opType: 'Concat',
            input: ['a', 'a'],
            output: ['b'],
            attribute: [{ name: 'axis', refAttrName: 'axis', type: AttributeType.INT }],
          },
        ],
      },
    ],
    trainingInfo: [{ algorithm: { name: 'step' }, updateBinding: [{ key: 'f32', value: 'f32' }] }],
    configuration: [{ name: 'two devices', numDevices: 2 }],
    graph: {
      name: 'odd',
      docString: 'graph documentation',
      metadataProps: [{ key: 'g', value: 'h' }],
      quantizationAnnotation: [
        { tensorName: 'x', quantParameterTensorNames: [{ key: 'SCALE', value: 'f32' }] },
      ],
      sparseInitializer: [
        {
          values: { name: 'sparse', dataType: 1, dims: [1n], floatData: [4] },
          indices: { dataType: 7, dims: [1n], int64Data: [2n] },
          dims: [5n],
        },
      ],
      initializer: [...ODD_TENSORS],
      input: [
        {
          name: 'x',
          docString: 'input',
          type: {
            denotation: 'TENSOR',
            value: {
              case: 'tensorType',
              value: {
                elemType: 1,
                shape: {
                  dim: [
                    { value: { case: 'dimParam', value: 'n' }, denotation: 'DATA_BATCH' },
                    { value: { case: 'dimValue', value: 3n } },
                    {},
                  ],
                },
              },
            },
          },
        },
        { name: 'flag', type: { value: { case: 'tensorType', value: { elemType: 9 } } } },
        {
          name: 'list',
          type: {
            value: {
              case: 'sequenceType',
              value: { elemType: { value: { case: 'tensorType', value: { elemType: 1 } } } },
            },
          },
        },
      ],
      output: [{ name: 'y' }],
      valueInfo: [{ name: 'z', type: { value: { case: 'tensorType', value: { elemType: 17 } } } }],
      node: [
        {
          opType: 'If',
          name: 'choose',
          docString: 'a choice',
          input: ['flag'],
          output: ['z'],
          attribute: [
            { name: 'then_branch', type: AttributeType.GRAPH, g: branch('then') },
            { name: 'else_branch', type: AttributeType.GRAPH, g: branch('else') },
          ],
        },
        {
          opType: 'Odd',
          domain: 'com.example',
          overload: 'v2',
          metadataProps: [{ key: 'n', value: 'm' }],
          input: ['z', '', 'sparse', 'f8'],
          output: ['y', ''],
          attribute: [
            { name: 'f', type: AttributeType.FLOAT, f: 0.1, docString: 'a float' },
            { name: 'i', type: AttributeType.INT, i: -7n },
            { name: 's', type: AttributeType.STRING, s: Uint8Array.of(0xff, 0x41) },
            { name: 'fs', type: AttributeType.FLOATS, floats: [1, NaN, Infinity] },
            { name: 'is', type: AttributeType.INTS, ints: [1n, -1n] },
            { name: 'ss', type: AttributeType.STRINGS, strings: [text('a'), text('')] },
            { name: 't', type: AttributeType.TENSOR, t: { dataType: 1, dims: [1n], floatData: [9] } },
            {
              name: 'ts',
              type: AttributeType.TENSORS,
              tensors: [{ dataType: 7, dims: [], int64Data: [4n] }],
            },
            { name: 'gs', type: AttributeType.GRAPHS, graphs: [{ name: 'g1' }, { name: 'g2' }] },
            { name: 'c', type: AttributeType.TENSOR, t: { dataType: 15, dims: [1n], doubleData: [1, 2] } },
            { name: 'tp', type: AttributeType.TYPE_PROTO, tp: { denotation: 'x' } },
            { name: 'untyped', i: 5n },
          ],
        },
      ],
    },
  });
  const bytes = toBinary(ModelProtoSchema, known);
  // Field 999 of the model and field 99 of the graph, a schema of the future: length-delimited, two bytes.
  const message = fromBinary(ModelProtoSchema, bytes);
  message.$unknown = [{ no: 999, wireType: WireType.LengthDelimited, data: Uint8Array.of(2, 7, 8) }];
  if (message.graph !== undefined)
    message.graph.$unknown = [{ no: 99, wireType: WireType.LengthDelimited, data: Uint8Array.of(2, 5, 6) }];
  return toBinary(ModelProtoSchema, message);
}
