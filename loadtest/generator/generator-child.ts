/** The generator's process: runs the plans that it is sent, one at a time, and sends back what came of each. */
import { toWhittleError } from '../../src/core/index.js';
import { createMetronome } from './metronome.js';
import { runOpenLoop } from './open-loop.js';
import type { GeneratorReply, LoadPlan } from './plan.js';

function reply(message: GeneratorReply): void {
  process.send?.(message);
}

// The parent ends with a signal of the terminal that reaches this process too, and it says what happened.
process.on('SIGINT', () => undefined);
process.once('disconnect', () => process.exit());

const metronome = await createMetronome();
process.on('message', (plan: LoadPlan) => {
  runOpenLoop(plan, metronome, (progress) => reply({ kind: 'progress', progress })).then(
    (result) => reply({ kind: 'result', result }),
    (thrown: unknown) => {
      const { code, message } = toWhittleError(thrown);
      reply({ kind: 'failed', code, message });
    },
  );
});
reply({ kind: 'ready' });
