import js from '@eslint/js';
import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

const typescriptFiles = ['src/**/*.ts', 'loadtest/**/*.ts', 'bench/**/*.ts', 'test/**/*.ts', '*.config.ts'];
const javascriptFiles = ['**/*.js', '**/*.cjs', '**/*.mjs'];

/** What the dashboard's scripts find in a browser. */
const browserGlobals = Object.fromEntries(
  [
    'AbortController',
    'CustomEvent',
    'Event',
    'HTMLElement',
    'Intl',
    'Node',
    'ResizeObserver',
    'URL',
    'URLSearchParams',
    'cancelAnimationFrame',
    'clearInterval',
    'clearTimeout',
    'console',
    'crypto',
    'customElements',
    'devicePixelRatio',
    'document',
    'fetch',
    'history',
    'localStorage',
    'location',
    'matchMedia',
    'performance',
    'requestAnimationFrame',
    'setInterval',
    'setTimeout',
    'window',
  ].map((name) => [name, 'readonly']),
);
/** What scripts that Node runs directly find. */
const nodeGlobals = Object.fromEntries(
  ['AbortSignal', 'console', 'fetch', 'module', 'process', 'setTimeout'].map((name) => [name, 'readonly']),
);

export default defineConfig(
  { ignores: ['dist', 'node_modules', 'models', 'docs/results', 'loadtest/results'] },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  { files: [...typescriptFiles, ...javascriptFiles], extends: [js.configs.recommended] },
  {
    files: typescriptFiles,
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // Messages and names are full of counts; a number prints one way only, so String(n) would be noise.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      // `expect(() => f()).toThrow()` and `onClose(() => stop())` are the plain way to write a callback.
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      // An unused parameter is sometimes what an interface asks for; the underscore says so.
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      'max-lines': ['error', { max: 400, skipBlankLines: true, skipComments: true }],
      'max-lines-per-function': ['error', { max: 60, skipBlankLines: true, skipComments: true }],
    },
  },
  {
    // Loops over typed arrays stay inside their bounds by construction and must not pay for a check, so they write
    // `array[i] as number`; this rule would ask for `array[i]!` instead, which the strict set forbids.
    files: ['**/*-kernel.ts', 'src/core/random.ts', 'test/**/*.ts'],
    rules: { '@typescript-eslint/non-nullable-type-assertion-style': 'off' },
  },
  {
    // A describe block is one function that holds its whole file.
    files: ['test/**/*.ts'],
    rules: { 'max-lines': 'off', 'max-lines-per-function': 'off' },
  },
  { files: ['src/dashboard/**/*.js'], languageOptions: { globals: browserGlobals } },
  { files: ['*.cjs', '.ci/**/*.mjs', 'scripts/**/*.mjs'], languageOptions: { globals: nodeGlobals } },
);
