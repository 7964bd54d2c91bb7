import js from '@eslint/js';
import { defineConfig, globalIgnores } from 'eslint/config';
import tseslint from 'typescript-eslint';

const nodeGlobals = Object.fromEntries(Object.getOwnPropertyNames(globalThis).map((name) => [name, 'readonly']));

/** What `src/` has handed in, so that a simulator can run it. */
const impureGlobals = ['setTimeout', 'setInterval', 'setImmediate', 'process', 'performance', 'fetch', 'WebSocket'];

/** The timer that loses a race keeps its thread alive until it is over, as a worker's was for two seconds after every run. */
const timerThatStays = {
  selector: "CallExpression[callee.property.name='race'] CallExpression[callee.name='delay'][arguments.length<3]",
  message: 'Nobody waits for the timer that loses a race: give it { ref: false }.',
};

export default defineConfig(
  globalIgnores(['dist', 'coverage', 'runs', '**/node_modules', 'src/kernels/assembly']),
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  js.configs.recommended,
  tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-console': 'error',
      'object-shorthand': 'error',
      'prefer-template': 'error',
      'max-lines': ['warn', { max: 300 }],
      '@typescript-eslint/array-type': 'error',
      '@typescript-eslint/consistent-type-assertions': [
        'error',
        { assertionStyle: 'as', objectLiteralTypeAssertions: 'never' },
      ],
      '@typescript-eslint/consistent-type-definitions': 'error',
      '@typescript-eslint/consistent-type-imports': ['error', { disallowTypeAnnotations: false }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/no-unnecessary-condition': [
        'error',
        { allowConstantLoopConditions: 'only-allowed-literals' },
      ],
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', caughtErrorsIgnorePattern: '^_', varsIgnorePattern: '^_' },
      ],
      '@typescript-eslint/prefer-nullish-coalescing': 'error',
      '@typescript-eslint/prefer-optional-chain': 'error',
      // An async function without await turns its throws into rejections, as the interface it implements promises.
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
    },
  },
  {
    files: ['src/**/*.ts'],
    rules: {
      'no-restricted-globals': [
        'error',
        ...impureGlobals.map((name) => ({ name, message: 'src/ is pure: take it as a parameter.' })),
      ],
      'no-restricted-properties': [
        'error',
        { object: 'Date', property: 'now', message: 'src/ has no clock: take the time as a parameter.' },
      ],
    },
  },
  // Not in bin/: a command ends by process.exit, whatever timer is left.
  {
    files: ['{worker,coordinator,transport,testing}/**/*.ts'],
    rules: { 'no-restricted-syntax': ['error', timerThatStays] },
  },
  { files: ['**/*.d.ts'], rules: { '@typescript-eslint/no-extraneous-class': 'off' } },
  {
    files: ['bin/**', 'scripts/**', 'bench/**', 'examples/**', 'test/simulation/run/main.ts', 'test/soak/main.ts'],
    rules: { 'no-console': 'off' },
  },
  { files: ['test/**', 'bench/**'], rules: { 'max-lines': 'off' } },
  {
    files: ['**/*.{js,mjs,cjs}'],
    extends: [tseslint.configs.disableTypeChecked],
    languageOptions: { globals: nodeGlobals },
  },
  {
    files: ['**/*.cjs'],
    languageOptions: { sourceType: 'commonjs' },
    rules: { '@typescript-eslint/no-require-imports': 'off' },
  },
);
