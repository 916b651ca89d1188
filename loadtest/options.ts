import { Command, InvalidArgumentError, Option } from 'commander';
import { WhittleError } from '../src/core/index.js';
import type { Arrivals } from './generator/schedule.js';
import { HELP } from './help.js';
import { checkTarget } from './target.js';

export type LoadedEndpoint = 'recommend' | 'search' | 'rank';

/** A share of the requests; shares are positive numbers with any sum. */
export interface MixShare {
  readonly endpoint: LoadedEndpoint;
  readonly share: number;
}

/** What the command does; see its help. */
export type Mode = 'rate' | 'find-rate' | 'overload' | 'clients' | 'closed-loop';

/** What to load and how, as given on the command line. */
export interface LoadOptions {
  readonly mode: Mode;
  /** Folder of the bundle to start a server on; unused with `url`. */
  readonly bundle: string;
  /** Origin of a server that runs already; it is never stopped from here. */
  readonly url?: string;
  /** Base configuration of the started server. */
  readonly config?: string;
  /** Endpoints, each once. The closed loop takes one. */
  readonly mix: readonly MixShare[];
  /** Names to load; default: every pipeline that offers the endpoints. */
  readonly pipelines?: readonly string[];
  /** No pipeline is forced: the server decides. */
  readonly unforced: boolean;
  /** Requests a second; where a search begins. */
  readonly rate?: number;
  /** The rate goes evenly from the first to the second. */
  readonly ramp?: readonly [number, number];
  /** Rates one after the other. */
  readonly steps?: readonly number[];
  readonly arrivals: Arrivals;
  /** The objective: 99 of 100 answers take no longer. */
  readonly p99Ms: number;
  /** How many times the peak the overload is. */
  readonly overload?: number;
  /** Clients besides the hot one, and its share of all requests. */
  readonly clients?: number;
  readonly hotClient: number;
  readonly clientHeader: string;
  readonly timeoutMs: number;
  readonly seconds: number;
  readonly rounds: number;
  /** Closed loop: requests in flight. */
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
  /** Results are saved as `<out>.md`, `<out>.json` and, open loop, `<out>.html`. */
  readonly out?: string;
}

interface Flags extends Omit<LoadOptions, 'mode' | 'mix' | 'p99Ms' | 'timeoutMs'> {
  readonly p99: number;
  readonly timeout: number;
  readonly closedLoop?: boolean;
  readonly findRate?: boolean;
  readonly endpoint?: LoadedEndpoint;
  readonly mix?: readonly MixShare[];
}

const ENDPOINTS: readonly LoadedEndpoint[] = ['recommend', 'search', 'rank'];
const MAX_RATE = 100_000;

/**
 * Reads the arguments (without node and script). Prints help and usage errors itself.
 *
 * @throws CommanderError, whose `exitCode` is 0 after help; USAGE_INVALID for a target that is not this machine, or
 * options that the mode has no use for.
 */
export function parseOptions(args: readonly string[]): LoadOptions {
  const parsed = command().parse(args, { from: 'user' });
  const flags = parsed.opts<Flags>();
  const { closedLoop: _closedLoop, findRate: _findRate, endpoint, mix, p99, timeout, ...rest } = flags;
  const options: LoadOptions = {
    ...rest,
    mode: modeOf(flags),
    p99Ms: p99,
    timeoutMs: timeout,
    mix: mix ?? [{ endpoint: endpoint ?? 'recommend', share: 1 }],
  };
  const given = (name: string): boolean => parsed.getOptionValueSource(name) === 'cli';
  checkUse(options, given);
  return options.url === undefined ? options : { ...options, url: checkTarget(options.url) };
}

function modeOf({ closedLoop, findRate, overload, clients }: Flags): Mode {
  if (closedLoop === true) return 'closed-loop';
  if (findRate === true) return 'find-rate';
  if (overload !== undefined) return 'overload';
  return clients === undefined ? 'rate' : 'clients';
}

/** Options that only some modes read, by their names in {@link Flags}. */
const ONLY_IN: Readonly<Record<string, readonly Mode[]>> = {
  connections: ['closed-loop'],
  rate: ['rate', 'find-rate', 'overload', 'clients'],
  ramp: ['rate'],
  steps: ['rate'],
  arrivals: ['rate', 'find-rate', 'overload', 'clients'],
  p99: ['rate', 'find-rate', 'overload', 'clients'],
  timeout: ['rate', 'find-rate', 'overload', 'clients'],
  mix: ['rate', 'find-rate', 'overload', 'clients'],
  unforced: ['rate', 'find-rate', 'overload', 'clients'],
  hotClient: ['clients'],
  clientHeader: ['clients'],
};

/** What would be passed over is told instead. */
function checkUse({ mode, mix, pipelines }: LoadOptions, given: (name: string) => boolean): void {
  for (const [name, modes] of Object.entries(ONLY_IN)) {
    if (given(name) && !modes.includes(mode)) throw unused(name, `it has no meaning for ${mode}`, modes);
  }
  if ((mode === 'overload' || mode === 'clients') && (pipelines?.length ?? 0) > 1)
    throw unused('pipelines', `${mode} takes one pipeline, or --unforced`, ['one name']);
  if (mode === 'closed-loop' && mix.some(({ endpoint }) => endpoint === 'rank'))
    throw unused('endpoint', 'the closed loop has no rank requests', ['recommend', 'search']);
}

function unused(name: string, reason: string, allowed: readonly string[]): WhittleError {
  const flag = `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
  const message = `${flag}: ${reason}; allowed with ${allowed.join(', ')} (see --help)`;
  return new WhittleError('USAGE_INVALID', message, { field: name, allowed });
}

function command(): Command {
  const made = new Command('loadtest')
    .description('Sends load to a server of this machine and says what it makes of it.')
    .exitOverride()
    .showHelpAfterError('(add --help for the options and examples)')
    .addHelpText('after', HELP);
  addModes(made);
  addTarget(made);
  addLoad(made);
  return made
    .option('--seconds <n>', 'length of a phase, 1 to 600', whole(1, 600), 10)
    .option('--rounds <n>', 'phases of each pipeline, 1 to 20', whole(1, 20), 3)
    .option('--seed <n>', 'seed of arrivals and of the order of users and queries', whole(0, 2 ** 32 - 1), 1)
    .option('--out <path>', 'results as <path>.md, .json and .html (default: loadtest/results/<bundle>-…)');
}

function addModes(made: Command): void {
  const modes = ['closedLoop', 'findRate', 'overload', 'clients'];
  const mode = (flags: string, description: string): Option => {
    const option = new Option(flags, description);
    return option.conflicts(modes.filter((name) => name !== option.attributeName()));
  };
  made
    .addOption(mode('--find-rate', 'the highest rate whose p99 holds the objective, for each pipeline'))
    .addOption(
      mode(
        '--overload <times>',
        'the peak, then this many times the peak, then half of it, 1.1 to 20',
      ).argParser(decimal(1.1, 20)),
    )
    .addOption(
      mode('--clients <n>', 'n clients with and without a hot one, 1 to 100').argParser(whole(1, 100)),
    )
    .addOption(mode('--closed-loop', 'peak of a closed loop; its latencies are those at saturation'))
    .option('--p99 <ms>', 'objective for the 99th percentile', decimal(0.1, 60_000), 20);
}

function addTarget(made: Command): void {
  made
    .option('--bundle <folder>', 'bundle to start a server on', 'models/demo')
    .addOption(
      new Option('--url <url>', 'server that runs already, on 127.0.0.1 or localhost').conflicts([
        'bundle',
        'config',
        'shadowShare',
      ]),
    )
    .option('--config <file>', 'base configuration of the started server')
    .option('--pipelines <names>', 'comma-separated (default: all that offer the endpoints)', parseNames)
    .addOption(
      new Option('--unforced', 'let the server choose the pipeline').default(false).conflicts('pipelines'),
    )
    .option('--shadow-share <share>', 'answers that the full model ranks again, 0 to 1', decimal(0, 1), 0.02);
}

function addLoad(made: Command): void {
  made
    .option(
      '--rate <n>',
      'requests a second (default: 50; found where --overload needs it)',
      decimal(0.1, MAX_RATE),
    )
    .addOption(
      new Option('--ramp <from,to>', 'the rate goes evenly from one to the other')
        .argParser(parseRamp)
        .conflicts(['rate', 'steps']),
    )
    .addOption(
      new Option('--steps <rates>', 'rates one after the other, each for --seconds')
        .argParser(rates(1))
        .conflicts(['rate', 'ramp']),
    )
    .addOption(
      new Option('--arrivals <kind>', 'how requests are spaced')
        .choices(['poisson', 'constant'])
        .default('poisson'),
    )
    .addOption(
      new Option('--endpoint <name>', 'the only endpoint (default: recommend)')
        .choices(ENDPOINTS)
        .conflicts('mix'),
    )
    .option('--mix <shares>', 'endpoints by share, such as recommend=0.7,search=0.2,rank=0.1', parseMix)
    .option(
      '--hot-client <share>',
      'share of all requests that the hot client sends',
      decimal(0.01, 0.99),
      0.5,
    )
    .option('--client-header <name>', 'header that names the client', parseHeader, 'x-client-id')
    .option(
      '--timeout <ms>',
      'a request without an answer for so long is given up',
      whole(100, 60_000),
      10_000,
    )
    .option('--connections <n>', 'closed loop: requests in flight, 1 to 256', whole(1, 256), 16)
    .option('--k <n>', 'items a request asks for, 1 to 200', whole(1, 200), 10)
    .option('--users <n>', 'users to draw from, 1 to 10000', whole(1, 10_000), 1_000)
    .option('--queries <file>', 'search: one query a line (default: titles of recommended items)');
}

function whole(low: number, high: number): (text: string) => number {
  return (text) => {
    if (/^\d+$/.test(text) && Number(text) >= low && Number(text) <= high) return Number(text);
    throw new InvalidArgumentError(`It must be a whole number from ${low} to ${high}.`);
  };
}

function decimal(low: number, high: number): (text: string) => number {
  return (text) => {
    if (/^\d+(\.\d+)?$/.test(text) && Number(text) >= low && Number(text) <= high) return Number(text);
    throw new InvalidArgumentError(`It must be a number from ${low} to ${high}.`);
  };
}

function rates(count: number): (text: string) => readonly number[] {
  return (text) => {
    const read = decimal(0.1, MAX_RATE);
    const values = text.split(',').map((part) => read(part.trim()));
    if (values.length >= count && values.length <= 50) return values;
    throw new InvalidArgumentError('It must be rates with commas between them.');
  };
}

function parseRamp(text: string): readonly [number, number] {
  const [from, to, ...more] = rates(2)(text);
  if (from !== undefined && to !== undefined && more.length === 0) return [from, to];
  throw new InvalidArgumentError('It must be two rates with a comma between them.');
}

function parseMix(text: string): readonly MixShare[] {
  const shares = text.split(',').map((part): MixShare => {
    const [name = '', value, ...more] = part.trim().split('=');
    const endpoint = ENDPOINTS.find((one) => one === name);
    if (endpoint === undefined || value === undefined || more.length > 0)
      throw new InvalidArgumentError(
        `${part} is not <endpoint>=<share>; endpoints are ${ENDPOINTS.join(', ')}.`,
      );
    return { endpoint, share: decimal(0.001, 1_000)(value) };
  });
  if (new Set(shares.map(({ endpoint }) => endpoint)).size === shares.length) return shares;
  throw new InvalidArgumentError('Each endpoint may stand once.');
}

function parseNames(text: string): readonly string[] {
  const names = text.split(',').map((name) => name.trim());
  if (names.every((name) => /^[\x21-\x7e]+$/.test(name)) && new Set(names).size === names.length)
    return names;
  throw new InvalidArgumentError('It must be pipeline names with commas between them, each once.');
}

/** A field name of HTTP (RFC 9110, section 5.6.2). */
function parseHeader(text: string): string {
  if (/^[!#$%&'*+.^_`|~\w-]+$/.test(text)) return text.toLowerCase();
  throw new InvalidArgumentError('It must be the name of a header.');
}
