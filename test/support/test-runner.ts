import { writeSync } from 'node:fs';
import { connect } from 'node:net';
import { WhittleError } from '../../src/core/index.js';
import { hostRunner, openSession } from '../../src/runtime/index.js';

/** What a test tells the runner of its making. */
export interface TestRunnerSpec {
  /** Path of a model to open; its outputs answer runs without a command. */
  readonly model?: string;
  /** How the start goes wrong. */
  readonly start?: 'throw' | 'exit' | 'never';
  /** Unix socket to be connected to for life, so that a test sees the runner's end. */
  readonly lifeline?: string;
}

/** What a run can be told to do instead of running the model. */
export type TestCommand = 'echo' | 'throw' | 'spin' | 'never' | 'exit' | 'garbage';

hostRunner(async (given) => {
  const spec = given as TestRunnerSpec;
  if (spec.lifeline !== undefined) connect(spec.lifeline);
  if (spec.start === 'throw')
    throw new WhittleError('MODEL_INVALID', 'no model today', { field: 'model', allowed: ['tomorrow'] });
  if (spec.start === 'never') await never();
  if (spec.start === 'exit') {
    console.error('the reason is on the last line');
    process.exit(7);
  }
  const session = spec.model === undefined ? undefined : await openSession(spec.model);
  return {
    info: { inputs: session?.inputs },
    handle: async ({ meta, tensors }) => {
      await obey(meta['command'] as TestCommand | undefined);
      return { meta, tensors: session === undefined ? tensors : await session.run(tensors) };
    },
    close: () => {
      console.log('closed');
      return session?.release() ?? Promise.resolve();
    },
  };
});

function obey(command: TestCommand | undefined): Promise<void> {
  if (command === 'throw') throw new WhittleError('INPUT_INVALID', 'not that', { field: 'x', value: 3 });
  if (command === 'exit') process.exit(9);
  if (command === 'garbage') writeSync(3, 'this is not a frame at all');
  if (command === 'spin') spin();
  return command === 'never' ? never() : Promise.resolve();
}

/** Holds up the event loop for good, as native code can. */
function spin(): never {
  writeSync(1, 'spinning\n');
  for (;;);
}

function never(): Promise<never> {
  return new Promise(() => undefined);
}
