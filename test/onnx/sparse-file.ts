import { open } from 'node:fs/promises';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/**
 * Writes a model that looks up rows of a table of zeros, `[rows, 64]` float32, inside the file. The table is a hole, so
 * that a file of any size takes neither time nor disk.
 */
export async function writeHollowModel(path: string, rows: number): Promise<void> {
  const tableBytes = rows * 64 * 4;
  const rawData = new BinaryWriter().tag(9, WireType.LengthDelimited).uint32(tableBytes).finish();
  const tensor = Buffer.concat([
    new BinaryWriter().tag(1, WireType.Varint).int64(rows).tag(1, WireType.Varint).int64(64).finish(),
    new BinaryWriter().tag(2, WireType.Varint).int32(1).finish(),
    text(8, 'table'),
    rawData,
  ]);
  const node = Buffer.concat([...[text(1, 'table'), text(1, 'ids'), text(2, 'y'), text(4, 'Gather')]]);
  const before = Buffer.concat([message(1, node), text(2, 'g')]);
  // Type tensor(int64) of one dynamic dimension, and none for the output.
  const dimension = message(1, text(2, 'n'));
  const type = message(1, Buffer.concat([varint(1, 7), message(2, dimension)]));
  const after = Buffer.concat([
    message(11, Buffer.concat([text(1, 'ids'), message(2, type)])),
    message(12, text(1, 'y')),
  ]);
  const head = new BinaryWriter()
    .tag(5, WireType.LengthDelimited)
    .uint32(tensor.byteLength + tableBytes)
    .finish();
  const graphBytes = before.byteLength + head.byteLength + tensor.byteLength + tableBytes + after.byteLength;
  const start = Buffer.concat([
    varint(1, 8),
    message(8, varint(2, 17)),
    new BinaryWriter().tag(7, WireType.LengthDelimited).uint32(graphBytes).finish(),
    before,
    head,
    tensor,
  ]);
  const file = await open(path, 'w');
  await file.write(start, 0, start.byteLength, 0);
  await file.write(after, 0, after.byteLength, start.byteLength + tableBytes);
  await file.close();
}

function varint(field: number, value: number): Uint8Array {
  return new BinaryWriter().tag(field, WireType.Varint).int64(value).finish();
}

function text(field: number, value: string): Uint8Array {
  return new BinaryWriter().tag(field, WireType.LengthDelimited).string(value).finish();
}

function message(field: number, content: Uint8Array): Uint8Array {
  return new BinaryWriter().tag(field, WireType.LengthDelimited).bytes(content).finish();
}
