/** Entry script of a ranker's runner: one variant's session. Feeds in, the score output out. */
import { must, type InputBinding } from '../core/index.js';
import { hostRunner, openSession } from '../runtime/index.js';
import { checkContract } from './contract-check.js';

/** What the gateway passes at the start. */
export interface RankerSpec {
  readonly modelPath: string;
  readonly inputs: readonly InputBinding[];
  readonly output: string;
  readonly threads: number;
}

hostRunner(async (given) => {
  const spec = given as RankerSpec;
  const session = await openSession(spec.modelPath, { threads: spec.threads, flushDenormals: true });
  checkContract(spec.modelPath, session.inputs, spec.inputs);
  return {
    handle: async ({ tensors }) => {
      const startedAt = performance.now();
      const outputs = await session.run(tensors, [spec.output]);
      const scores = must(outputs[spec.output], `output ${spec.output}`);
      return { meta: { runMs: performance.now() - startedAt }, tensors: { scores } };
    },
    close: () => session.release(),
  };
});
