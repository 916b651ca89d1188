import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { must, WhittleError } from '../../src/core/index.js';
import type { GeneratorReply, LoadPlan, LoadProgress, LoadResult } from './plan.js';

/** A load generator in a process of its own, so that nothing else that this one does can make it late. */
export interface Generator {
  /**
   * Runs one plan; only one at a time.
   * @throws USAGE_INVALID for a schedule that is too long; INTERNAL where the process ends.
   */
  run(plan: LoadPlan, onProgress?: (progress: LoadProgress) => void): Promise<LoadResult>;
  /** Ends the process, whatever it does. */
  close(): void;
}

interface Waiting {
  resolve(reply: Extract<GeneratorReply, { kind: 'result' | 'ready' }>): void;
  reject(reason: WhittleError): void;
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
}

/** Starts the process and waits until it can run plans. @throws INTERNAL where it does not start. */
export async function startGenerator(): Promise<Generator> {
  // Tests run the sources, so the process must too.
  const isSource = import.meta.url.endsWith('.ts');
  const entry = fileURLToPath(new URL(`./generator-child.${isSource ? 'ts' : 'js'}`, import.meta.url));
  // Structured clones keep typed arrays; JSON would not.
  const child = fork(entry, { serialization: 'advanced', execArgv: isSource ? ['--import', 'tsx'] : [] });
  let waiting: Waiting | undefined;
  const settled = (): Waiting => {
    const one = must(waiting, 'plan that runs');
    waiting = undefined;
    return one;
  };
  child.on('message', (reply: GeneratorReply) => {
    if (reply.kind === 'progress') waiting?.onProgress?.(reply.progress);
    else if (reply.kind === 'failed') settled().reject(failed(reply));
    else settled().resolve(reply);
  });
  child.once('exit', (code, signal) => {
    waiting?.reject(new WhittleError('INTERNAL', `The load generator ended with ${String(code ?? signal)}`));
  });
  const answerOf = (onProgress?: Waiting['onProgress']): Promise<GeneratorReply> =>
    new Promise((resolve, reject) => {
      waiting = { resolve, reject, onProgress };
    });
  await answerOf();
  return {
    run: async (plan, onProgress) => {
      const answer = answerOf(onProgress);
      child.send(plan);
      const reply = await answer;
      return must(reply.kind === 'result' ? reply.result : undefined, 'result of the plan');
    },
    close: () => {
      child.kill('SIGKILL');
    },
  };
}

/** What the child throws on purpose is a schedule that is too long; anything else is a bug. */
function failed({ code, message }: Extract<GeneratorReply, { kind: 'failed' }>): WhittleError {
  return new WhittleError(code === 'USAGE_INVALID' ? code : 'INTERNAL', message);
}
