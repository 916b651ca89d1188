import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command `whittle` as a process of its own, to its end. */
export function whittle(...args: readonly string[]): Promise<Finished> {
  const child = ['--import', 'tsx', MAIN, ...args];
  return new Promise((resolve, reject) => {
    const running = execFile(process.execPath, child, { maxBuffer: 1 << 24 }, (_, stdout, stderr) => {
      const { exitCode, signalCode } = running;
      if (exitCode === null)
        reject(new Error(`whittle ${args.join(' ')} ended by ${signalCode ?? 'nothing'}: ${stderr}`));
      else resolve({ code: exitCode, stdout, stderr });
    });
  });
}

/** The same where nothing may go wrong. */
export async function whittleSucceeds(...args: readonly string[]): Promise<Finished> {
  const finished = await whittle(...args);
  if (finished.code !== 0)
    throw new Error(`whittle ${args.join(' ')}: exit ${finished.code}\n${finished.stderr}`);
  return finished;
}
