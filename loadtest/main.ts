/** `npm run loadtest`. Exit codes: 0 done, 1 failed, void or error responses, 2 wrong use, 130 interrupted. */
import { mkdir, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { CommanderError } from 'commander';
import { toWhittleError, WhittleError } from '../src/core/index.js';
import { runOpenLoopTest } from './open-loop/run.js';
import { parseOptions, type LoadOptions } from './options.js';
import { documentMarkdown } from './report/document.js';
import { documentHtml } from './report/html.js';
import { formatMarkdown, totalErrors } from './report.js';
import { runClosedLoop, type RunContext } from './run.js';

const INTERRUPTED = 130;

/** What a run leaves: texts by the ending of their file, and why the exit code must be 1. */
interface Outcome {
  readonly files: Readonly<Record<'md' | 'json', string> & Partial<Record<'html', string>>>;
  readonly problem?: string;
}

async function main(args: readonly string[], interrupted: Promise<never>): Promise<number> {
  const options = parseOptions(args);
  const context = { command: commandOf(args), note, interrupted };
  const run = options.mode === 'closed-loop' ? closedLoop : openLoop;
  const { files, problem } = await run(options, context);
  process.stdout.write(files.md);
  note(`Saved ${(await save(files, options.out ?? defaultOut(options))).join(', ')}`);
  if (problem !== undefined) note(problem);
  return problem === undefined ? 0 : 1;
}

async function closedLoop(options: LoadOptions, context: RunContext): Promise<Outcome> {
  const report = await runClosedLoop(options, context);
  const errors = totalErrors(report);
  return {
    files: { md: formatMarkdown(report), json: jsonOf(report) },
    ...(errors > 0 ? { problem: `${errors} requests were not answered with 2xx` } : {}),
  };
}

async function openLoop(options: LoadOptions, context: RunContext): Promise<Outcome> {
  const { document, data, problem } = await runOpenLoopTest(options, context);
  return {
    files: { md: documentMarkdown(document), json: jsonOf(data), html: documentHtml(document) },
    ...(problem === undefined ? {} : { problem }),
  };
}

function jsonOf(data: unknown): string {
  return `${JSON.stringify(data, null, 2)}\n`;
}

/** Writes `<out>.<ending>` for each text and answers the paths. */
async function save(files: Outcome['files'], out: string): Promise<readonly string[]> {
  await mkdir(dirname(out), { recursive: true });
  const saved: string[] = [];
  for (const [ending, text] of Object.entries(files)) {
    await writeFile(`${out}.${ending}`, text);
    saved.push(`${out}.${ending}`);
  }
  return saved;
}

function note(line: string): void {
  process.stderr.write(`${line}\n`);
}

function commandOf(args: readonly string[]): string {
  const quoted = args.map((arg) => (/^[\w./:,=-]+$/.test(arg) ? arg : JSON.stringify(arg)));
  return ['npm run loadtest', ...(quoted.length > 0 ? ['--', ...quoted] : [])].join(' ');
}

/** Named after the bundle, the mode, and the endpoint where it is another than recommend. */
function defaultOut({ url, bundle, mode, mix }: LoadOptions): string {
  const name = url === undefined ? basename(resolve(bundle)) : 'server';
  const endpoints = mix.map(({ endpoint }) => endpoint).filter((endpoint) => endpoint !== 'recommend');
  return join('loadtest', 'results', [name, mode, ...endpoints].join('-'));
}

function exitCodeOf(thrown: unknown): number {
  if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? 0 : 2;
  const { code, message, details } = toWhittleError(thrown);
  note(`${code}: ${message}`);
  // The stack of a bug here is what its reporter needs; one of the server is in its log.
  if (code === 'INTERNAL' && !('status' in details) && thrown instanceof Error) note(String(thrown.stack));
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
