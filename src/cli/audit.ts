import type { Command } from 'commander';
import { completeConfig, readConfig, WhittleError } from '../core/index.js';
import { verifyAuditLog, type AuditReport } from '../store/index.js';
import { createOutput } from './output.js';

interface VerifyOptions {
  readonly config?: string;
  readonly head?: string;
  readonly json?: boolean;
}

/** `whittle audit verify`: whether the log of changes is as it was written. */
export function auditCommand(program: Command): void {
  const audit = program.command('audit').summary('check the log of changes made to a server');
  audit
    .command('verify')
    .summary('check every entry of the audit log')
    .description(
      'Checks that no entry of the audit log was edited, removed, inserted or moved. Exit code 1 names the first line that does not hold. Entries cut off at the end show only against a head that was kept elsewhere: give it with --head.',
    )
    .argument('[file]', 'the log (default: what the configuration names)')
    .option('--config <file>', 'configuration in YAML or JSON, for its admin.auditPath')
    .option('--head <hash>', 'hash of an entry that must be in the log, for example the last one known')
    .option('--json', 'print the report as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ whittle audit verify\n  $ whittle audit verify /var/lib/whittle/audit.jsonl --head 3f7a…\n',
    )
    .action((file: string | undefined, options: VerifyOptions) => verify(file, options));
}

async function verify(file: string | undefined, { config, head, json }: VerifyOptions): Promise<void> {
  const path = file ?? (config === undefined ? completeConfig({}) : await readConfig(config)).admin.auditPath;
  let headAt: number | undefined;
  const report = await verifyAuditLog(path, (line) => {
    if (line.hash === head) headAt = line.sequence;
  });
  checkHolds(path, report);
  checkHead(path, report, head, headAt);
  const { entries, firstTime, lastTime, recovered } = report;
  createOutput(json ?? false).result(
    { path, entries, firstTime, lastTime, head: report.head.hash, recovered },
    [
      `${path}: ${entries} entries hold`,
      ...(firstTime === undefined ? [] : [`  from ${firstTime} to ${String(lastTime)}`]),
      `  head  ${report.head.hash}`,
      ...(recovered === 0 ? [] : [`  ${recovered} lines were cut off by a crash; the log says so itself`]),
      ...(headAt === undefined
        ? []
        : [`  the given head is entry ${headAt}; ${entries - headAt} came after it`]),
    ].join('\n'),
  );
}

/** @throws FILE_CORRUPT naming the first line that does not hold. */
function checkHolds(path: string, { broken, torn, entries }: AuditReport): void {
  if (broken !== undefined) {
    const message = `${path}: line ${broken.line} does not hold: ${broken.reason}; ${entries} entries before it do`;
    throw new WhittleError('FILE_CORRUPT', message, { path, entries, ...broken });
  }
  if (torn === undefined) return;
  const message = `${path}: the last line is cut off after ${torn.length} bytes, as by a crash; ${entries} entries before it hold. The server says so in the log when it starts again`;
  throw new WhittleError('FILE_CORRUPT', message, { path, entries, tornBytes: torn.length });
}

/** @throws FILE_CORRUPT where an entry that was there is not any more. */
function checkHead(path: string, { entries }: AuditReport, head?: string, headAt?: number): void {
  if (head === undefined || headAt !== undefined) return;
  const message = `${path}: its ${entries} entries hold, but none has the hash ${head}: entries were cut off or the log was written anew`;
  throw new WhittleError('FILE_CORRUPT', message, { path, entries, head });
}
