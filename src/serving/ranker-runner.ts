/** Entry script of a ranker's runner: one variant's session. Feeds in, the score output out. */
import type { InputBinding } from '../core/index.js';
import { hostRunner, openSession } from '../runtime/index.js';
import { checkContract, checkOutput, outputOf } from './contract-check.js';
import { checkVerifiedPart, type VerifiedPart } from './verified-part.js';

/** What the gateway passes at the start. */
export interface RankerSpec {
  readonly modelPath: string;
  readonly inputs: readonly InputBinding[];
  readonly output: string;
  readonly threads: number;
  readonly verified?: VerifiedPart;
}

hostRunner(async (given) => {
  const spec = given as RankerSpec;
  const session = await openSession(spec.modelPath, { threads: spec.threads, flushDenormals: true });
  await checkVerifiedPart(spec.verified);
  checkContract(spec.modelPath, session.inputs, spec.inputs);
  checkOutput(spec.modelPath, session.outputs, spec.output);
  return {
    handle: async ({ tensors }) => {
      const before = process.cpuUsage();
      const outputs = await session.run(tensors, [spec.output]);
      // Per-candidate inputs have the most rows.
      const rows = Math.max(...Object.values(tensors).map(({ dims }) => dims[0] ?? 1));
      const scores = outputOf(spec.modelPath, outputs, spec.output, rows);
      return { meta: { cpuMs: cpuMsSince(before) }, tensors: { scores } };
    },
    close: () => session.release(),
  };
});

/** CPU time of all threads of this process. Unlike time on the clock, what else the machine does has no part in it. */
function cpuMsSince(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}
