/** `npm run loadtest`. Exit codes: 0 done, 1 failed or error responses, 2 wrong use, 130 interrupted. */
import { basename, join, resolve } from 'node:path';
import { CommanderError } from 'commander';
import { toWhittleError, WhittleError } from '../src/core/index.js';
import { parseOptions, type LoadOptions } from './options.js';
import { formatMarkdown, saveReport, totalErrors } from './report.js';
import { runLoadtest } from './run.js';

const INTERRUPTED = 130;

async function main(args: readonly string[], interrupted: Promise<never>): Promise<number> {
  const options = parseOptions(args);
  const report = await runLoadtest(options, { command: commandOf(args), note, interrupted });
  process.stdout.write(formatMarkdown(report));
  note(`Saved ${(await saveReport(report, options.out ?? defaultOut(options))).join(' and ')}`);
  const errors = totalErrors(report);
  if (errors > 0) note(`${errors} requests were not answered with 2xx`);
  return errors > 0 ? 1 : 0;
}

function note(line: string): void {
  process.stderr.write(`${line}\n`);
}

function commandOf(args: readonly string[]): string {
  const quoted = args.map((arg) => (/^[\w./:,=-]+$/.test(arg) ? arg : JSON.stringify(arg)));
  return ['npm run loadtest', ...(quoted.length > 0 ? ['--', ...quoted] : [])].join(' ');
}

function defaultOut({ url, bundle, endpoint }: LoadOptions): string {
  const name = url === undefined ? basename(resolve(bundle)) : 'server';
  return join('loadtest', 'results', endpoint === 'search' ? `${name}-search` : name);
}

function exitCodeOf(thrown: unknown): number {
  if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? 0 : 2;
  const { code, message, details } = toWhittleError(thrown);
  note(`${code}: ${message}`);
  // A bug's stack is what its reporter needs.
  if (code === 'INTERNAL' && thrown instanceof Error) note(String(thrown.stack));
  if ('signal' in details) return INTERRUPTED;
  return code === 'USAGE_INVALID' || code === 'CONFIG_INVALID' ? 2 : 1;
}

const interrupted = new Promise<never>((_resolve, reject) => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      reject(new WhittleError('NOT_READY', `The load test was ended by ${signal}`, { signal }));
    });
  }
});
// Before the run listens to it there is nothing to clean up.
interrupted.catch(() => undefined);

try {
  process.exitCode = await main(process.argv.slice(2), interrupted);
} catch (thrown) {
  // A loop that was broken off would go on for the rest of its phase.
  process.exit(exitCodeOf(thrown));
}
