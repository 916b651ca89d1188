import { createRequire } from 'node:module';

/** Version of the ONNX Runtime package, read without loading it. */
export function onnxRuntimeVersion(): string {
  const { version } = createRequire(import.meta.url)('onnxruntime-node/package.json') as {
    readonly version: string;
  };
  return version;
}
