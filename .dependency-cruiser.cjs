/**
 * The layer rule of the design: a folder of `src` imports only folders of lower layers, and only through their
 * `index.ts`; folders of one layer do not import each other; heavy packages are imported in one place each.
 */
const layers = [
  ['core'],
  ['onnx', 'statistics', 'store'],
  ['data', 'training', 'retrieval', 'runtime'],
  ['compression', 'evaluation', 'experiments'],
  ['serving'],
  ['http'],
  ['cli'],
];

/** Packages by the only place that may import them (regular expressions on paths). */
const owners = [
  { packages: 'onnxruntime-node', place: '^src/runtime/onnxruntime\\.ts$' },
  { packages: 'fastify|@fastify/[^/]+', place: '^src/http/' },
  { packages: 'lmdb', place: '^src/store/' },
  { packages: 'hnswlib-node|minisearch', place: '^src/retrieval/' },
  { packages: '@duckdb/[^/]+', place: '^src/data/' },
];

const layerRules = layers.flatMap((folders, level) =>
  folders.map((folder) => {
    const allowed = [folder, ...layers.slice(0, level).flat()].join('|');
    return {
      name: `layer-${level}-${folder}`,
      comment: `src/${folder} is in layer ${level}: it may import ${level === 0 ? 'no other folder' : `layers 0 to ${level - 1}`}.`,
      severity: 'error',
      from: { path: `^src/${folder}/` },
      to: { path: '^src/', pathNot: `^src/(${allowed})/` },
    };
  }),
);

const ownerRules = owners.map(({ packages, place }) => ({
  name: `only-one-place-imports-${packages.replaceAll(/[^a-z]+/g, '-').replaceAll(/^-|-$/g, '')}`,
  comment: `Only ${place} may import ${packages}; others go through that folder's index.ts.`,
  severity: 'error',
  from: { pathNot: place },
  // A package that is not installed keeps its bare name as its path.
  to: { path: `(^|^node_modules/)(${packages})(/|$)` },
}));

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    ...layerRules,
    ...ownerRules,
    {
      name: 'every-folder-has-a-layer',
      comment:
        'A new folder of src must be given its layer in .dependency-cruiser.cjs and in docs/design.md.',
      severity: 'error',
      from: { path: '^src/', pathNot: `^src/(index\\.ts$|dashboard/|(${layers.flat().join('|')})/)` },
      to: {},
    },
    {
      name: 'only-through-index',
      comment: 'Another folder is imported through its index.ts, which is its interface.',
      severity: 'error',
      from: { path: '^src/([^/]+)/' },
      to: { path: '^src/[^/]+/', pathNot: ['^src/$1/', '^src/[^/]+/index\\.ts$'] },
    },
    {
      name: 'only-through-index-from-outside',
      comment: 'The package entry and the load generator import folders through their index.ts too.',
      severity: 'error',
      from: { path: '^(src/index\\.ts$|loadtest/)' },
      to: { path: '^src/[^/]+/', pathNot: '^src/[^/]+/index\\.ts$' },
    },
    {
      name: 'loadtest-knows-only-core',
      comment: 'The load generator sees the server as a client does: over HTTP.',
      severity: 'error',
      from: { path: '^loadtest/' },
      to: { path: '^(src|test)/', pathNot: '^src/core/' },
    },
    {
      name: 'dashboard-stands-alone',
      comment: 'The browser application talks to the JSON API only.',
      severity: 'error',
      from: { path: '^src/dashboard/' },
      to: { pathNot: '^src/dashboard/' },
    },
    {
      name: 'nothing-imports-the-outermost',
      comment: 'The package entry, the tests and the load generator are imported by nobody.',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^(src/index\\.ts$|test/|loadtest/)' },
    },
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'no-orphans',
      comment: 'A module that imports nothing and that nobody imports is dead.',
      severity: 'error',
      from: { orphan: true, pathNot: '^src/dashboard/' },
      to: {},
    },
    {
      name: 'no-unresolvable',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true, pathNot: '^hnswlib-node$' },
    },
    {
      name: 'no-development-packages',
      comment: 'What runs in production must be in dependencies.',
      severity: 'error',
      from: { path: '^src/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'] },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    // Types count as well: a type from a higher layer is a dependency on it.
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'types', 'default'],
    },
  },
};
