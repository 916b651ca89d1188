#!/usr/bin/env node
/** The command `whittle`. Exit codes: 0 done, 1 failed, 2 wrong use. */
import { Command, CommanderError } from 'commander';
import { must } from '../core/index.js';
import { reportFailure } from './output.js';
import { version } from './version.js';

const COMMANDS: Readonly<Record<string, () => Promise<(program: Command) => void>>> = {
  serve: async () => (await import('./serve.js')).serveCommand,
  train: async () => (await import('./train.js')).trainCommand,
  bundle: async () => (await import('./bundle-create.js')).bundleCommand,
  inspect: async () => (await import('./inspect.js')).inspectCommand,
  compress: async () => (await import('./compress.js')).compressCommand,
  diff: async () => (await import('./diff.js')).diffCommand,
  evaluate: async () => (await import('./evaluate.js')).evaluateCommand,
  demo: async () => (await import('./demo.js')).demoCommand,
  audit: async () => (await import('./audit.js')).auditCommand,
};

const program = new Command('whittle')
  .description(
    'Serves a ranking model and its compressed variants side by side, and measures what compression costs.',
  )
  .version(await version())
  .showHelpAfterError('(add --help for the options and examples)')
  .exitOverride();
// The called command alone where it is plain which that is: a server starts sooner without the compressor's code.
const [called = ''] = process.argv.slice(2);
const wanted = Object.hasOwn(COMMANDS, called) ? [called] : Object.keys(COMMANDS);
for (const name of wanted) (await must(COMMANDS[name], name)())(program);
// Commander does not hand its settings down to commands made before them.
for (const command of program.commands)
  command.exitOverride().showHelpAfterError('(add --help for the options and examples)');

try {
  await program.parseAsync();
} catch (thrown) {
  if (thrown instanceof CommanderError) process.exitCode = thrown.exitCode === 0 ? 0 : 2;
  else process.exitCode = reportFailure(thrown, process.argv.includes('--json'));
}
