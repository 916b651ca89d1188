import { float32, WhittleError } from '../../src/core/index.js';
import { GraphBuilder, writeModel } from '../../src/onnx/index.js';

/** Writes a model with tables of 0.1 and 4 MB where files may not become that large, and reports what came of it. */
const [path = ''] = process.argv.slice(2);
const builder = new GraphBuilder();
builder.initializer('fits', float32(new Float32Array(25_000)));
builder.initializer('does_not', float32(new Float32Array(1_000_000).fill(1)));
try {
  await writeModel(builder.build(), path);
  process.send?.({ code: 'none' });
} catch (thrown) {
  if (!(thrown instanceof WhittleError)) throw thrown;
  process.send?.({ code: thrown.code, message: thrown.message, details: thrown.details });
}
process.disconnect();
