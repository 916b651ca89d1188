import { Command, InvalidArgumentError, Option } from 'commander';
import { checkTarget } from './target.js';

export type LoadedEndpoint = 'recommend' | 'search';

/** What to load and how, as given on the command line. */
export interface LoadOptions {
  /** Folder of the bundle to start a server on; unused with `url`. */
  readonly bundle: string;
  /** Origin of a server that runs already; it is never stopped from here. */
  readonly url?: string;
  /** Base configuration of the started server. */
  readonly config?: string;
  readonly endpoint: LoadedEndpoint;
  /** Names to load; default: every pipeline that offers the endpoint. */
  readonly pipelines?: readonly string[];
  readonly seconds: number;
  readonly rounds: number;
  readonly connections: number;
  /** Items a request asks for. */
  readonly k: number;
  /** Users to draw from. */
  readonly users: number;
  readonly seed: number;
  /** Share of answers that the started server ranks again with the full model. */
  readonly shadowShare: number;
  /** File with one search query a line. */
  readonly queries?: string;
  /** Results are saved as `<out>.md` and `<out>.json`. */
  readonly out?: string;
}

const EXAMPLES = `
It starts the server on a free port (or takes --url), warms up, loads each pipeline alone in alternating rounds and
then the mixture, where arms decide by user. The loop is closed: every connection sends its next request when the
answer is there, so latencies are those at saturation and not at a rate. The started server has no answer cache, an
event store of its own, and, where the configuration has no experiment, equal arms over the pipelines.

Exit codes: 0 done, 1 failed or any request was not answered with 2xx, 2 wrong use.

Examples:
  $ npm run loadtest
  $ npm run loadtest -- --bundle models/demo --seconds 10 --rounds 5 --connections 32
  $ npm run loadtest -- --endpoint search --queries queries.txt
  $ npm run loadtest -- --url http://127.0.0.1:8080 --pipelines full,int8
`;

/**
 * Reads the arguments (without node and script). Prints help and usage errors itself.
 *
 * @throws CommanderError, whose `exitCode` is 0 after help; USAGE_INVALID for a target that is not this machine.
 */
export function parseOptions(args: readonly string[]): LoadOptions {
  const options = command().parse(args, { from: 'user' }).opts<LoadOptions>();
  return options.url === undefined ? options : { ...options, url: checkTarget(options.url) };
}

function command(): Command {
  return new Command('loadtest')
    .description('Drives each pipeline alone and then the mixture in a closed loop, and saves one table.')
    .exitOverride()
    .showHelpAfterError('(add --help for the options and examples)')
    .option('--bundle <folder>', 'bundle to start a server on', 'models/demo')
    .addOption(
      new Option('--url <url>', 'server that runs already, on 127.0.0.1 or localhost').conflicts([
        'bundle',
        'config',
        'shadowShare',
      ]),
    )
    .option('--config <file>', 'base configuration of the started server')
    .addOption(new Option('--endpoint <name>').choices(['recommend', 'search']).default('recommend'))
    .option('--pipelines <names>', 'comma-separated (default: all that offer the endpoint)', parseNames)
    .option('--seconds <n>', 'length of a phase, 1 to 60', whole(1, 60), 5)
    .option(
      '--rounds <n>',
      'phases of each pipeline, 1 to 20; figures are medians over them',
      whole(1, 20),
      3,
    )
    .option('--connections <n>', 'requests in flight, 1 to 256', whole(1, 256), 16)
    .option('--k <n>', 'items a request asks for, 1 to 200', whole(1, 200), 10)
    .option('--users <n>', 'users to draw from, 1 to 10000', whole(1, 10_000), 1_000)
    .option('--seed <n>', 'seed of the order of users and queries', whole(0, 2 ** 32 - 1), 1)
    .option('--shadow-share <share>', 'answers that the full model ranks again, 0 to 1', parseShare, 0.02)
    .option('--queries <file>', 'search: one query a line (default: titles of recommended items)')
    .option('--out <path>', 'results as <path>.md and <path>.json (default: loadtest/results/<bundle>)')
    .addHelpText('after', EXAMPLES);
}

function whole(low: number, high: number): (text: string) => number {
  return (text) => {
    if (/^\d+$/.test(text) && Number(text) >= low && Number(text) <= high) return Number(text);
    throw new InvalidArgumentError(`It must be a whole number from ${low} to ${high}.`);
  };
}

function parseShare(text: string): number {
  const share = text.trim() === '' ? Number.NaN : Number(text);
  if (share >= 0 && share <= 1) return share;
  throw new InvalidArgumentError('It must be a number from 0 to 1.');
}

function parseNames(text: string): readonly string[] {
  const names = text.split(',').map((name) => name.trim());
  if (names.every((name) => /^[\x21-\x7e]+$/.test(name)) && new Set(names).size === names.length)
    return names;
  throw new InvalidArgumentError('It must be pipeline names with commas between them, each once.');
}
