/**
 * Makes a release from a clean checkout: the package, its bill of materials (CycloneDX) and their SHA-256, in release/.
 *
 *   npm run release                      refuses a dirty tree, findings of npm audit that docs/security.md does not
 *                                        explain, and a package with files that do not belong there
 *   npm run release -- --dry-run         does all of it but writes nothing
 *   npm run release -- --without-audit   for registries that do not answer npm audit
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const OPTIONS = ['--dry-run', '--without-audit'];
/** What the package consists of; each kind must be there. */
const BELONGS = [
  /^dist\/src\/cli\/main\.js$/,
  /^dist\/src\/serving\/ranker-runner\.js$/,
  /^dist\/(src|loadtest)\/.+\.(js|d\.ts|html|css|svg|json)$/,
  /^docs\/.+$/,
  /^models\/demo\/bundle\.json$/,
  /^models\/demo\/.+$/,
  /^(package\.json|README\.md|CHANGELOG\.md|LICENSE|whittle\.yaml)$/,
];

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { name, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

main(process.argv.slice(2));

function main(options) {
  const unknown = options.find((option) => !OPTIONS.includes(option));
  if (unknown !== undefined) fail(`${unknown} is not known; allowed: ${OPTIONS.join(', ')}`);
  const dryRun = options.includes('--dry-run');
  requireCleanTree();
  if (!options.includes('--without-audit')) audit();
  rmSync(join(root, 'dist'), { recursive: true, force: true });
  run('npm', ['run', '--silent', 'build']);
  const folder = mkdtempSync(join(tmpdir(), 'whittle-release-'));
  try {
    const files = [pack(folder), writeBillOfMaterials(folder)];
    const sums = files.map((file) => `${sha256(join(folder, file))}  ${file}\n`).join('');
    writeFileSync(join(folder, 'SHA256SUMS'), sums);
    process.stdout.write(`${dryRun ? 'Would write' : 'Wrote'} to release/:\n${sums}`);
    if (!dryRun) publish(folder, [...files, 'SHA256SUMS']);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function requireCleanTree() {
  const changed = run('git', ['status', '--porcelain']).trim();
  if (changed !== '') fail(`The working tree has changes; commit them or put them aside:\n${changed}`);
}

/** Findings in what is installed for production. An explained one is named, by its advisory, in docs/security.md. */
function audit() {
  const report = parse(run('npm', ['audit', '--omit=dev', '--json'], { mayFail: true }));
  if (report?.vulnerabilities === undefined)
    fail('The registry does not answer npm audit; use another one, or --without-audit');
  const explained = readFileSync(join(root, 'docs/security.md'), 'utf8');
  const advisories = Object.values(report.vulnerabilities)
    .flatMap(({ via }) => via)
    .filter((via) => typeof via === 'object')
    .filter(({ url }) => !explained.includes(url.split('/').at(-1)));
  if (advisories.length > 0)
    fail(
      `npm audit finds what docs/security.md does not explain:\n${advisories.map(({ name: of, title, url }) => `${of}: ${title} (${url})`).join('\n')}`,
    );
}

/** The package's file name in `folder`. Its content is checked: nothing is left out, nothing slips in. */
function pack(folder) {
  const output = run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder]);
  const [{ filename, files }] = JSON.parse(output);
  const paths = files.map(({ path }) => path);
  const stray = paths.filter((path) => !BELONGS.some((kind) => kind.test(path)));
  if (stray.length > 0) fail(`The package holds what does not belong there:\n${stray.join('\n')}`);
  const missing = BELONGS.filter((kind) => !paths.some((path) => kind.test(path)));
  if (missing.length > 0) fail(`The package lacks ${missing.join(', ')}`);
  return filename;
}

function writeBillOfMaterials(folder) {
  const bill = JSON.parse(run('npm', ['sbom', '--sbom-format', 'cyclonedx', '--omit', 'dev']));
  // npm takes the folder's name.
  bill.metadata.component.name = name;
  const file = `${name}-${version}.cdx.json`;
  writeFileSync(join(folder, file), `${JSON.stringify(bill, null, 2)}\n`);
  return file;
}

function publish(folder, files) {
  const target = join(root, 'release');
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target);
  for (const file of files) {
    // A rename would not leave the file system of the temporary folder.
    writeFileSync(join(target, `${file}.tmp`), readFileSync(join(folder, file)));
    renameSync(join(target, `${file}.tmp`), join(target, file));
  }
}

function sha256(path) {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Standard output of a command; its standard error is shown. */
function run(command, given, { mayFail = false } = {}) {
  try {
    return execFileSync(command, given, {
      cwd: root,
      encoding: 'utf8',
      maxBuffer: 2 ** 28,
      stdio: ['ignore', 'pipe', mayFail ? 'ignore' : 'inherit'],
    });
  } catch (error) {
    if (mayFail) return String(error.stdout);
    return fail(`${command} ${given.join(' ')} failed: ${error.message}`);
  }
}

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}
