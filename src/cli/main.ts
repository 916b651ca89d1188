#!/usr/bin/env node
/** The command `whittle`. Exit codes: 0 done, 1 failed, 2 wrong use. */
import { Command, CommanderError } from 'commander';
import { auditCommand } from './audit.js';
import { bundleCommand } from './bundle-create.js';
import { compressCommand } from './compress.js';
import { demoCommand } from './demo.js';
import { diffCommand } from './diff.js';
import { evaluateCommand } from './evaluate.js';
import { inspectCommand } from './inspect.js';
import { reportFailure } from './output.js';
import { serveCommand } from './serve.js';
import { trainCommand } from './train.js';
import { version } from './version.js';

const program = new Command('whittle')
  .description(
    'Serves a ranking model and its compressed variants side by side, and measures what compression costs.',
  )
  .version(await version())
  .showHelpAfterError('(add --help for the options and examples)')
  .exitOverride();
const commands = [
  serveCommand,
  trainCommand,
  bundleCommand,
  inspectCommand,
  compressCommand,
  diffCommand,
  evaluateCommand,
  demoCommand,
  auditCommand,
];
for (const add of commands) add(program);
// Commander does not hand its settings down to commands made before them.
for (const command of program.commands)
  command.exitOverride().showHelpAfterError('(add --help for the options and examples)');

try {
  await program.parseAsync();
} catch (thrown) {
  if (thrown instanceof CommanderError) process.exitCode = thrown.exitCode === 0 ? 0 : 2;
  else process.exitCode = reportFailure(thrown, process.argv.includes('--json'));
}
